// Learned step size, one element at a time. LSQ: Esser et al. 2020, "Learned step size
// quantization"; LSQ+: Bhalgat et al. 2020, "LSQ+: improving low-bit quantization through
// learnable offsets and better initialization". Forward is `quantize` and `dequantize` of
// quant_math.h on the same grid (ties to even, saturating, NaN at the lowest code).
#pragma once

#include "kernels/integer/quant_math.h"

namespace halftone::quant_math {

// The derivative exactly at a clip bound, v = qmin - z or qmax - z. kInclusive: inside (NNI): dx =
// dy, ds = 0. kPaper: clipped (LSQ, eq. 3 and 5): dx = 0, ds = the bound.
enum class LsqEdge : uint8_t { kInclusive, kPaper };

// y = s clamp(rint(v), low, high) with v = x / s, low = qmin - z, high = qmax - z:
//   dy/dx = 1 inside, 0 clipped
//   dy/ds = rint(v) - v inside, `below` or `above` clipped
// The mask looks at the unrounded v. `below` and `above` are
//   LSQ, or a fixed zero point: low and high (with z = 0: qmin and qmax, the paper's -Q_N and Q_P);
//   LSQ+: qmin and qmax. There z = rint(-beta / s) with the rounding straight through, so that a
//     clipped y = s (qmin - z) = s qmin + beta. Its derivative by s at constant beta is qmin, by
//     beta it is 1; inside, y = s rint(x / s) does not depend on beta. The paper's gradients are
//     the same but for v = (x - beta) / s; here the grid is shifted by a whole number of steps, so
//     that zero has a code and the layer deploys on integers.
// A negative or zero scale is the caller's mistake; v may overflow to an infinity, which is
// clipped.
template <class V>
struct LsqRuleOf {
  V scale, low, high, below, above;
};
using LsqRule = LsqRuleOf<float>;

HALFTONE_HD LsqRule lsq_rule(const Grid& g) {
  const float low = static_cast<float>(g.qmin - g.zero_point);
  const float high = static_cast<float>(g.qmax - g.zero_point);
  return {g.scale, low, high, low, high};
}

HALFTONE_HD LsqRule lsq_plus_rule(const Grid& g) {
  LsqRule r = lsq_rule(g);
  r.below = static_cast<float>(g.qmin);
  r.above = static_cast<float>(g.qmax);
  return r;
}

// What an element contributes, each to be multiplied with dy. NaN counts as below the range, as in
// forward.
template <class V>
struct LsqShareOf {
  decltype(V(0.0f) > V(0.0f)) pass;  // dx = dy
  V scale;                           // to ds
  V offset;                          // to dbeta: 1 where clipped (LSQ+)
};
using LsqShare = LsqShareOf<float>;

template <class V>
HALFTONE_HD LsqShareOf<V> lsq_share(V x, const LsqRuleOf<V>& r, LsqEdge edge) {
  const V v = x / r.scale;
  const bool inclusive = edge == LsqEdge::kInclusive;
  const auto under = inclusive ? !(v >= r.low) : !(v > r.low);
  const auto over = inclusive ? v > r.high : v >= r.high;
  LsqShareOf<V> s;
  s.pass = !(under | over);
  s.scale = select(under, r.below, select(over, r.above, round_even(v) - v));
  s.offset = select(s.pass, V(0.0f), V(1.0f));
  return s;
}

// The grid of LSQ+ for scale s and offset beta (the real value of code 0): z = clamp(rint(-beta /
// s), qmin, qmax), NaN at qmin.
HALFTONE_HD Grid lsq_plus_grid(float scale, float beta, int32_t qmin, int32_t qmax) {
  const float low = static_cast<float>(qmin), high = static_cast<float>(qmax);
  const float z = clamp_nan_low(rintf(-beta / scale), low, high);
  return {scale, static_cast<int32_t>(z), qmin, qmax};
}

// beta as near as possible such that -beta / s lies on the code range: an optimizer step ends with
// it. Beyond, z would not move with beta and the gradient above would be wrong.
HALFTONE_HD float clamp_lsq_plus_offset(float beta, float scale, int32_t qmin, int32_t qmax) {
  return clamp_nan_low(beta, -scale * static_cast<float>(qmax), -scale * static_cast<float>(qmin));
}

// The first scale: 2 mean |v| / sqrt(Q_P), section 2.1 of LSQ; the floor of a scale for zeros.
HALFTONE_HD float lsq_initial_scale(double mean_magnitude, int32_t qmax) {
  const float s = static_cast<float>(2.0 * mean_magnitude / sqrt(static_cast<double>(qmax)));
  return s > kScaleFloor ? s : kScaleFloor;
}

// g = 1 / sqrt(N Q_P), section 2.2 of LSQ; N: weights, or features of one sample, that share s.
HALFTONE_HD double lsq_gradient_scale(double count, int32_t qmax) {
  return 1.0 / sqrt(count * static_cast<double>(qmax));
}

}  // namespace halftone::quant_math
