// Grids that lie on the device, as a FakeQuantize module's state does, and the rules of
// quant_math.h and lsq_math.h with a division that a channel's elements share: the same bits for
// scales from 2^-100 to 2^100 (test/kernels/cuda/shared_grid_test.cc).
#pragma once

#include "kernels/cuda/divide.h"
#include "kernels/integer/lsq_math.h"

namespace halftone::kernels::cuda {

// One scale per channel, and one zero point, or (LSQ+) one offset, or neither: zero point 0.
struct DeviceGrids {
  const float* scale = nullptr;
  const int32_t* zero_point = nullptr;
  const float* offset = nullptr;  // beta, the real value of code 0
  int32_t qmin = 0, qmax = 255;
  int32_t up = 0;  // codes are stored this much higher: 128 makes signed ones uint8

  HALFTONE_HD quant_math::Grid at(int64_t channel) const {
    const float s = scale[channel];
    quant_math::Grid g{s, zero_point != nullptr ? zero_point[channel] : 0, qmin, qmax};
    if (offset != nullptr) g = quant_math::lsq_plus_grid(s, offset[channel], qmin, qmax);
    return {s, g.zero_point + up, qmin + up, qmax + up};
  }
};

// What a thread keeps of a channel's grid; low = qmin - z, high = qmax - z.
struct SharedGrid {
  Divider divide;
  float low, high;

  HALFTONE_HD explicit SharedGrid(const quant_math::Grid& g)
      : divide(Divider::by(g.scale)),
        low(static_cast<float>(g.qmin - g.zero_point)),
        high(static_cast<float>(g.qmax - g.zero_point)) {}
  SharedGrid() = default;
  // x / s, which beyond the range may be any value `margin` beyond it. NaN: below.
  HALFTONE_HD float quotient(float x, float margin) const {
    return divide(clamp_fast(x, divide.s * (low - margin), divide.s * (high + margin)));
  }
};

// Where the zero point is added: after rounding, or before it.
struct OnnxRule {
  // A zero has the sign of x where the range reaches to both sides of zero, else it is +0.
  static HALFTONE_HD float value(float x, const SharedGrid& g, float) {
    const float size = round_whole(g.quotient(x, 0.0f));
    const uint32_t sign = g.low < 0.0f && g.high > 0.0f ? 0x80000000u : 0u;
    return g.divide.s * float_of(bits_of(size) | (bits_of(x) & sign));
  }
  static HALFTONE_HD int32_t code(float x, const SharedGrid& g, int32_t z) {
    return whole_code(g.quotient(x, 0.0f)) + z;
  }
  static HALFTONE_HD bool mask(float x, const SharedGrid& g, float) {
    const float t = round_whole(g.quotient(x, 2.0f));
    return (t >= g.low) & (t <= g.high);
  }
};

struct NniRule {
  // The code as a float.
  static HALFTONE_HD float whole(float x, const SharedGrid& g, float z) {
    const float t = z + g.quotient(x, 1.0f);
    return clamp_fast(t, g.low + z, g.high + z);
  }
  static HALFTONE_HD float value(float x, const SharedGrid& g, float z) {
    return g.divide.s * (round_whole(whole(x, g, z)) - z);
  }
  static HALFTONE_HD int32_t code(float x, const SharedGrid& g, int32_t z) {
    return whole_code(whole(x, g, static_cast<float>(z)));
  }
  static HALFTONE_HD bool mask(float x, const SharedGrid& g, float z) {
    const float t = round_whole(z + g.quotient(x, 2.0f));
    return (t >= g.low + z) & (t <= g.high + z);
  }
};

// quant_math::lsq_share; z: the zero point of LSQ+ (lsq_plus_rule), else 0 (lsq_rule). Clipped, the
// whole step is the bound.
template <quant_math::LsqEdge kEdge>
HALFTONE_HD quant_math::LsqShare shared_lsq_share(float x, const SharedGrid& g, float z) {
  const float v = g.quotient(x, 1.0f);
  const bool inclusive = kEdge == quant_math::LsqEdge::kInclusive;
  const bool under = inclusive ? !(v >= g.low) : !(v > g.low);
  const bool over = inclusive ? v > g.high : v >= g.high;
  const float whole = round_whole(clamp_fast(v, g.low, g.high));
  quant_math::LsqShare s;
  s.pass = !(under | over);
  s.scale = s.pass ? whole - v : whole + z;
  s.offset = s.pass ? 0.0f : 1.0f;
  return s;
}

}  // namespace halftone::kernels::cuda
