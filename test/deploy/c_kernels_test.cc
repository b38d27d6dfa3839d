// The C header's epilogues, with floating point and without, against the rule of training.
#include <float.h>
#include <stdint.h>
#include <string.h>

#include <catch2/catch.hpp>

#include "kernels/integer/quant_math.h"

namespace with_float {
#include "deploy/c/kernels.c"
}

namespace no_float {
#define HT_NO_FLOAT
#include "deploy/c/kernels.c"
}  // namespace no_float

using namespace halftone;

namespace {

uint32_t bits_of(float v) {
  uint32_t bits;
  memcpy(&bits, &v, sizeof bits);
  return bits;
}

// Ties of all kinds, steps of powers of two, what trained networks have, and the ends.
std::vector<float> multipliers() {
  std::vector<float> all{0.0f, 1e-45f, 1.1e-38f, FLT_MIN, 1.0f, 1.5f, 255.0f, 1e20f, FLT_MAX};
  for (int k = 0; k < 40; ++k) {
    all.push_back(ldexpf(1.0f, -k));
    all.push_back(ldexpf(3.0f, -k));
    all.push_back(nextafterf(ldexpf(1.0f, -k), 0.0f));
    all.push_back(ldexpf(1.0f + 0.37f * static_cast<float>(k) / 40.0f, -k / 2));
  }
  return all;
}

// Around every power of two, where int32 stops being a float, and at its ends.
std::vector<int32_t> accumulators() {
  std::vector<int32_t> all;
  for (int32_t i = -3000; i <= 3000; ++i) all.push_back(i);
  for (int k = 12; k < 31; ++k) {
    for (int32_t i = -70; i <= 70; ++i) {
      all.push_back((1 << k) + i);
      all.push_back(-(1 << k) + i);
      all.push_back((3 << (k - 2)) + i);
    }
  }
  for (const int32_t v : {INT32_MAX, INT32_MAX - 1, INT32_MAX - 63, INT32_MIN, INT32_MIN + 1})
    all.push_back(v);
  return all;
}

struct Range {
  int32_t low, high, zero;
};

}  // namespace

TEST_CASE("codes of the C kernels are the epilogue's") {
  const std::vector<int32_t> accs = accumulators();
  const std::vector<int32_t> bias(1, 0);
  for (const Range& r :
       {Range{0, 255, 0}, Range{-117, 138, 117}, Range{0, 15, 0}, Range{-3, 0, 3}}) {
    for (const float m : multipliers()) {
      INFO(m << " " << r.low << " " << r.high);
      const uint32_t bits = bits_of(m);
      const quant_math::Channel channel{-1, 0, m};
      const with_float::ht_epilogue a{bias.data(), &bits, r.low, r.high, 0, 0, r.zero};
      const no_float::ht_epilogue b{bias.data(), &bits, r.low, r.high, 0, 0, r.zero};
      int64_t wrong = 0;
      for (const int32_t acc : accs) {
        const int32_t want = quant_math::epilogue(acc, channel, static_cast<float>(r.low),
                                                  static_cast<float>(r.high), r.zero);
        wrong += with_float::ht_code(&a, acc, 0) != want || no_float::ht_code(&b, acc, 0) != want;
      }
      REQUIRE(wrong == 0);
    }
  }
}

TEST_CASE("logits of the C kernels have the bits of the epilogue's") {
  const std::vector<int32_t> bias(1, 0);
  const float inf = INFINITY;
  for (const auto& [low, high] :
       {std::pair{-inf, inf}, std::pair{0.0f, inf}, std::pair{0.0f, 6.0f}}) {
    for (const float m : multipliers()) {
      INFO(m << " " << low << " " << high);
      const uint32_t bits = bits_of(m);
      const quant_math::Channel channel{-1, 0, m};
      const with_float::ht_epilogue a{bias.data(), &bits, 0, 0, bits_of(low), bits_of(high), 0};
      const no_float::ht_epilogue b{bias.data(), &bits, 0, 0, bits_of(low), bits_of(high), 0};
      int64_t wrong = 0;
      for (const int32_t acc : accumulators()) {
        const uint32_t want = bits_of(quant_math::epilogue_float(acc, channel, low, high));
        wrong += bits_of(with_float::ht_logit_of(&a, acc, 0)) != want ||
                 no_float::ht_logit_of(&b, acc, 0) != want;
      }
      REQUIRE(wrong == 0);
    }
  }
}

TEST_CASE("the order of logits without floating point is that of the floats") {
  const std::vector<float> values{-INFINITY, -3e38f, -1.0f, -1e-45f, -0.0f,
                                  0.0f,      1e-45f, 2.0f,  INFINITY};
  for (const float a : values) {
    for (const float b : values)
      REQUIRE((no_float::ht_less(bits_of(a), bits_of(b)) != 0) == (a < b));
  }
}
