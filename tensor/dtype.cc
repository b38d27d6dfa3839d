#include "tensor/dtype.h"

#include <cstring>

#include "tensor/error.h"

namespace halftone {

BFloat16::BFloat16(float value) {
  uint32_t word;
  std::memcpy(&word, &value, sizeof word);
  if ((word & 0x7fffffffu) > 0x7f800000u) {
    // NaN: keep sign and leading payload; the quiet bit keeps it from becoming infinity.
    bits = static_cast<uint16_t>((word >> 16) | 0x0040u);
    return;
  }
  const uint32_t half_ulp = 0x7fffu + ((word >> 16) & 1u);  // ties go to the even neighbour
  bits = static_cast<uint16_t>((word + half_ulp) >> 16);
}

BFloat16::operator float() const {
  const uint32_t word = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

namespace {

struct DTypeInfo {
  const char* name;
  size_t size;
};
constexpr DTypeInfo kInfo[] = {{"float32", 4}, {"bfloat16", 2}, {"int8", 1}, {"uint8", 1},
                               {"int32", 4},   {"int64", 8},    {"bool", 1}};

const DTypeInfo& info(DType dtype) {
  const size_t i = static_cast<size_t>(dtype);
  if (i >= sizeof kInfo / sizeof kInfo[0]) {
    throw HALFTONE_ERROR("dtype").expected("a DType").found("value " + std::to_string(i));
  }
  return kInfo[i];
}

}  // namespace

size_t size_of(DType dtype) { return info(dtype).size; }

std::string name_of(DType dtype) { return info(dtype).name; }

}  // namespace halftone
