#include "kernels/integer/quant_math.h"

#include <catch2/catch.hpp>
#include <cfenv>
#include <cmath>
#include <limits>
#include <vector>

using namespace halftone::quant_math;

namespace {

const float kNaN = std::numeric_limits<float>::quiet_NaN();
const float kInf = std::numeric_limits<float>::infinity();

// Nearest integer, ties to even, of a double: no library rounding.
int64_t nearest_even(double v) {
  const double down = std::floor(v);
  const double rest = v - down;
  const int64_t whole = static_cast<int64_t>(down);
  if (rest < 0.5) return whole;
  if (rest > 0.5) return whole + 1;
  return whole % 2 == 0 ? whole : whole + 1;
}

// fl() of a value that a double holds exactly: one rounding to float.
int32_t oracle(int64_t acc, const Channel& c, int lo, int hi, int z) {
  const float sum = static_cast<float>(c.keep ? acc + c.bias : c.bias);
  const double product =
      static_cast<double>(sum) * static_cast<double>(c.multiplier);  // exact in double
  const float rounded = static_cast<float>(product);
  if (!(rounded > -1e9f)) return lo;
  if (!(rounded < 1e9f)) return hi;
  const int64_t code = nearest_even(rounded) + z;
  return static_cast<int32_t>(code < lo ? lo : code > hi ? hi : code);
}

Grid grid_of(int bits, bool is_signed, bool symmetric, float low, float high, bool nni = true) {
  return choose_grid(low, high, GridRule{bits, is_signed, symmetric, nni});
}

}  // namespace

TEST_CASE("epilogue equals an integer oracle around every edge and on ties") {
  std::vector<float> multipliers = {1.0f,     0.5f, 0.25f, 0x1p-12f, 0x3p-9f,
                                    0x1p-20f, 3.0f, 0.1f,  1e-3f,    1.0f / 3.0f};
  for (int k = 0; k < 40; ++k)
    multipliers.push_back(std::ldexp(1.0f + 0.0247f * static_cast<float>(k), -k / 2));
  std::vector<int64_t> accumulators;
  for (int64_t a = -(1 << 12); a <= (1 << 12); ++a) accumulators.push_back(a);
  for (int shift = 13; shift <= 30; ++shift) {
    for (int64_t d = -2; d <= 2; ++d) {
      accumulators.push_back((int64_t{1} << shift) + d);
      accumulators.push_back(-(int64_t{1} << shift) + d);
      accumulators.push_back(3 * (int64_t{1} << (shift - 2)) + d);
    }
  }
  for (const float m : multipliers) {
    for (const int32_t bias : {0, 1, -77, 1 << 23, -(1 << 29)}) {
      for (const int z : {0, 3, 128}) {
        const Channel c{-1, bias, m};
        for (const int64_t acc : accumulators) {
          const int32_t code = epilogue(static_cast<int32_t>(acc), c, 0.0f - z, 255.0f - z, z);
          if (code != oracle(acc, c, 0, 255, z))
            FAIL(acc << " " << bias << " " << m << " " << z << ": " << code);
        }
      }
    }
  }
}

TEST_CASE("a constant channel does not see its accumulator") {
  const Channel c{0, 1000, 0.01f};
  REQUIRE(epilogue(123456, c, 0, 255, 0) == 10);
  REQUIRE(epilogue_float(-5, c, -kInf, kInf) == 10.0f);
}

TEST_CASE("quantize: ties to even before the zero point, NaN and infinities saturate") {
  const Grid g{0.5f, 3, 0, 15};
  REQUIRE(quantize(0.25f, g) == 3);  // rint(0.5) = 0
  REQUIRE(quantize(0.75f, g) == 5);  // rint(1.5) = 2
  REQUIRE(quantize(-0.25f, g) == 3);
  REQUIRE(quantize(kNaN, g) == 0);
  REQUIRE(quantize(kInf, g) == 15);
  REQUIRE(quantize(-kInf, g) == 0);
  REQUIRE(quantize_nni(0.25f, g) == 4);  // rint(3.5) = 4: the zero point comes first
  REQUIRE(quantize_nni(kNaN, g) == 0);
  REQUIRE(dequantize(5, g) == 1.0f);
}

TEST_CASE("scale and zero point follow NNI's formulas") {
  Grid g = grid_of(8, false, false, -1, 2);
  REQUIRE((g.scale == 3.0f / 255 && g.zero_point == 85));
  g = grid_of(8, true, false, -1, 2);
  REQUIRE((g.scale == 3.0f / 254 && g.zero_point == -42));
  g = grid_of(8, false, true, -1, 2);
  REQUIRE((g.scale == 2 / 127.5f && g.zero_point == 127));
  REQUIRE(grid_of(8, false, true, -1, 2, false).zero_point == 128);
  g = grid_of(8, true, true, -1, 2);
  REQUIRE((g.scale == 2.0f / 127 && g.zero_point == 0 && g.qmin == -127 && g.qmax == 127));
  g = grid_of(4, false, false, 0.5f, 2);
  REQUIRE((g.scale == 2.0f / 15 && g.zero_point == 0));
  g = grid_of(2, true, false, -3, -1);
  REQUIRE((g.scale == 1.5f && g.zero_point == 1));
  g = grid_of(1, false, true, -1, 1);
  REQUIRE((g.scale == 2.0f && g.zero_point == 0));
}

TEST_CASE("degenerate ranges give finite grids") {
  for (const bool is_signed : {false, true}) {
    for (const bool symmetric : {false, true}) {
      for (const auto& r : {std::pair<float, float>{0, 0},
                            {kInf, -kInf},
                            {-1e-30f, 1e-40f},
                            {-kInf, kInf},
                            {-3e38f, 3e38f},
                            {kNaN, kNaN}}) {
        const Grid g = grid_of(8, is_signed, symmetric, r.first, r.second, false);
        CAPTURE(is_signed, symmetric, r.first, r.second);
        REQUIRE(g.scale >= kScaleFloor);
        REQUIRE(std::isfinite(g.scale));
        REQUIRE((g.zero_point >= g.qmin && g.zero_point <= g.qmax));
        REQUIRE(dequantize(quantize(0.0f, g), g) == 0.0f);
      }
    }
  }
}

TEST_CASE("straight-through mask compares the rounded code") {
  const Grid g{0.5f, 0, 0, 15};
  for (const auto& mask : {ste_mask, ste_mask_nni}) {
    REQUIRE(mask(-0.25f, g));  // -0.5 rounds to 0
    REQUIRE_FALSE(mask(-0.26f, g));
    REQUIRE(mask(7.74f, g));
    REQUIRE_FALSE(mask(7.75f, g));  // 15.5 rounds to 16
    REQUIRE_FALSE(mask(kNaN, g));
  }
}

TEST_CASE("moving average: 0, 0.2 then 0.8 gives 0.002, 0.206") {
  REQUIRE(ema(0.0f, 0.2f, 0.99) == 0.002f);
  REQUIRE(ema(0.2f, 0.8f, 0.99) == 0.206f);
}

TEST_CASE("folding batch norm into the scale") {
  FoldInput in;
  in.normalised = true;
  in.gamma = -2;
  in.beta = 0.5;
  in.mean = 0.25;
  in.variance = 3.75;
  in.eps = 0.25;
  in.input_scale = 0.125f;
  in.weight_scale = 0.5f;
  in.output_scale = 0.25f;
  Folded f = fold(in);  // sigma 2, ratio -1, offset 0.75, s_w' 0.5, unit 1/16
  REQUIRE(f.sigma == 2);
  REQUIRE(f.ratio == -1);
  REQUIRE(f.weight_scale == 0.5f);
  REQUIRE(f.channel.bias == 12);
  REQUIRE(f.channel.multiplier == 0.25f);
  REQUIRE_FALSE(f.constant);
  in.output_scale = 0;
  REQUIRE(fold(in).channel.multiplier == 0.0625f);
  in.bias = 0.25;  // cancels the mean
  REQUIRE(fold(in).channel.bias == 8);
}

TEST_CASE("gamma 0 and a bias past 2^30 make a constant channel of the right value") {
  FoldInput in;
  in.normalised = true;
  in.beta = 0.7;
  in.mean = 3;
  in.variance = 1;
  in.input_scale = 0.01f;
  in.weight_scale = 0.003f;
  in.output_scale = 0.02f;
  for (const double gamma : {0.0, 1e-12, -1e-12, 1e-40}) {
    in.gamma = gamma;
    const Folded f = fold(in);
    REQUIRE(f.constant);
    REQUIRE(epilogue(1000000, f.channel, 0, 255, 0) == 35);  // 0.7 / 0.02
    REQUIRE(std::abs(f.channel.bias) <= 1 << 30);
  }
  in.beta = 0;
  in.gamma = 0;
  REQUIRE(epilogue(7, fold(in).channel, -128, 127, 128) == 128);
}

TEST_CASE("NaN and infinite parameters are shown, not hidden") {
  FoldInput in;
  in.bias = std::numeric_limits<double>::quiet_NaN();
  REQUIRE(std::isnan(epilogue_float(0, fold(in).channel, 0, kInf)));
  in.normalised = true;
  in.bias = 0;
  in.gamma = std::numeric_limits<double>::infinity();
  const float y = epilogue_float(1, fold(in).channel, -kInf, kInf);
  REQUIRE_FALSE(std::isfinite(y));
}

TEST_CASE("gradient passes strictly inside the activation and where the code is in range") {
  const Pass relu{0.0f, kInf, 0.0f, 255.0f};
  REQUIRE_FALSE(passes(0.0f, relu));
  REQUIRE(passes(0.1f, relu));
  REQUIRE(passes(255.5f - 0.01f, relu));
  REQUIRE_FALSE(passes(255.5f, relu));  // rounds to 256
  REQUIRE_FALSE(passes(kNaN, relu));
}
