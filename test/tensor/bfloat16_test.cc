#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>

#include "tensor/dtype.h"
#include "tensor/error.h"
#include "tensor/random.h"

using namespace halftone;

namespace {

float from_word(uint32_t word) {
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

// The definition: of the two neighbours that cut off or carry the low half, the nearer; the even
// one at a tie. In double, where the distances are exact.
uint16_t nearest_even(float value) {
  uint32_t word;
  std::memcpy(&word, &value, sizeof word);
  const uint16_t down = static_cast<uint16_t>(word >> 16);
  const uint16_t up = static_cast<uint16_t>(down + 1);
  const auto as_double = [](uint16_t bits) {
    // What would be infinity counts as 2^128, the next step of the scale.
    if ((bits & 0x7fff) == 0x7f80) return bits & 0x8000 ? -0x1p128 : 0x1p128;
    return static_cast<double>(from_word(static_cast<uint32_t>(bits) << 16));
  };
  const double below = std::fabs(value - as_double(down));
  const double above = std::fabs(value - as_double(up));
  if (below != above) return below < above ? down : up;
  return down % 2 == 0 ? down : up;
}

}  // namespace

TEST_CASE("every bfloat16 survives the way to float and back, NaN with its payload") {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    BFloat16 value;
    value.bits = static_cast<uint16_t>(bits);
    const uint16_t back = BFloat16(static_cast<float>(value)).bits;
    const bool signalling = (bits & 0x7f80) == 0x7f80 && (bits & 0x7f) != 0 && !(bits & 0x40);
    if (back != (signalling ? (bits | 0x40) : bits)) FAIL("bits " << bits << " became " << back);
  }
}

TEST_CASE("floats round to the nearest bfloat16, ties to even") {
  REQUIRE(BFloat16(1.0f).bits == 0x3f80);
  REQUIRE(BFloat16(from_word(0x3f808000)).bits == 0x3f80);  // tie, even below
  REQUIRE(BFloat16(from_word(0x3f818000)).bits == 0x3f82);  // tie, even above
  REQUIRE(BFloat16(from_word(0x3f808001)).bits == 0x3f81);
  REQUIRE(BFloat16(from_word(0x7f7fffff)).bits == 0x7f80);  // largest float: infinity
  const Philox random{1, 0};
  for (uint64_t i = 0; i < 200000; ++i) {
    uint32_t word = random.bits(i);
    if (i % 4 == 0) word = (word & 0xffff0000u) | 0x8000u;  // ties are rare by chance
    const float value = from_word(word);
    if (!std::isfinite(value)) continue;
    if (BFloat16(value).bits != nearest_even(value)) FAIL("float word " << word);
  }
}

TEST_CASE("NaN stays NaN and infinity infinity") {
  for (uint32_t word : {0x7f800001u, 0x7f80ffffu, 0x7fffffffu, 0xff800001u, 0xffffffffu}) {
    const BFloat16 value(from_word(word));
    REQUIRE(std::isnan(static_cast<float>(value)));
    REQUIRE(value.bits >> 15 == word >> 31);
  }
  REQUIRE(static_cast<float>(BFloat16(-INFINITY)) == -INFINITY);
}

TEST_CASE("element types have sizes and names") {
  REQUIRE(size_of(DType::kFloat32) == sizeof(float));
  REQUIRE(size_of(DType::kBFloat16) == sizeof(BFloat16));
  REQUIRE(size_of(DType::kInt64) == sizeof(int64_t));
  REQUIRE(size_of(DType::kBool) == sizeof(bool));
  REQUIRE(name_of(DType::kFloat32) == "float32");
  REQUIRE(name_of(DType::kBFloat16) == "bfloat16");
  REQUIRE(name_of(DType::kUInt8) == "uint8");
  REQUIRE(name_of(DType::kBool) == "bool");
  REQUIRE_THROWS_AS(name_of(static_cast<DType>(77)), Error);
}
