// DoReFa-Net (Zhou et al. 2016), one element at a time. n = 2^k - 1, exact as a float for k <= 16.
// Ties to even throughout; the order of operations is NNI's and the authors', so codes agree.
#pragma once

#include "kernels/integer/quant_math.h"

namespace halftone::quant_math {

// Below it max |tanh w| counts as zero: PyTorch's eps of an observer.
constexpr float kDorefaFloor = kScaleFloor;

// tanh in double, from +, -, *, / alone: the same bits on every device and in every body, within
// 0.51 ulp after rounding to float. NaN stays NaN.
HALFTONE_HD float dorefa_tanh(float w);

// quantize_k (eq. 5) of r in [0, 1]: the code rint(r n). Saturates; NaN is code 0.
template <class V>
HALFTONE_HD V dorefa_code(V r, V n) {
  return clamp_nan_low(round_even(r * n), V(0.0f), n);
}

// ---- weights, k > 1 (eq. 9): w_q = 2 quantize_k(t / (2 max |t|) + 1/2) - 1, t = tanh(w) ----

// Code i in [0, n]. A zero weight lies on a tie: the even one of the two middle codes. `largest` is
// max |t|, at least kDorefaFloor; max over the layer, NaN left out.
HALFTONE_HD float dorefa_weight_code(float t, float largest, float n) {
  return dorefa_code(t / (2.0f * largest) + 0.5f, n);
}
// The value; as an integer: code 2 i - n with scale 1 / n, which may round differently by one ulp.
HALFTONE_HD float dorefa_weight(float code, float n) { return 2.0f * (code / n) - 1.0f; }

// Gradient, straight through the rounding only. With M = max |t|, reached by `count` weights:
//   dt_i = dy_i / M - [|t_i| = M] sign(t_i) / count * sum_j dy_j t_j / M^2,   dw = dt (1 - t^2)
// The second term is the max's own derivative: the authors' code (TensorFlow's reduce_max, which
// shares between ties) has it, Larq stops it. Where M < kDorefaFloor the map is a step at zero:
// dw = dy then, so that a dead layer neither explodes nor stays dead.
struct DorefaWeightRule {
  float largest = 1.0f;  // M
  float tied = 0.0f;     // sum_j dy_j t_j / (M^2 count)
  bool dead = false;     // M < kDorefaFloor
};
HALFTONE_HD float dorefa_weight_gradient(float dy, float t, const DorefaWeightRule& r) {
  if (r.dead) return dy;
  const float top = fabsf(t) == r.largest ? (t < 0.0f ? -r.tied : r.tied) : 0.0f;
  return (dy / r.largest - top) * (1.0f - t * t);
}

// ---- activations (eq. 11): quantize_k(clamp(x, 0, 1)) ----

template <class V>
HALFTONE_HD V dorefa_activation(V x, V n) {
  return dorefa_code(x, n) / n;
}
// dy inside and at both bounds, as the clamp of PyTorch and TensorFlow, else 0; NaN is outside.
template <class V>
HALFTONE_HD V dorefa_activation_gradient(V dy, V x) {
  const V zero(0.0f);
  return select(x >= zero, select(x <= V(1.0f), dy, zero), zero);
}

// ---- gradients (eq. 12): 2 m (quantize_k(g / (2 m) + 1/2 + N) - 1/2), m = max |g| of a sample
// ----

// N = (uniform - 1/2) / n, one per element; the sum is clamped to [0, 1] as the authors' code does.
// m = 0 leaves zeros; a sample whose m is infinite passes as it is, and NaN stays NaN: overflow is
// for the trainer to see.
HALFTONE_HD float dorefa_gradient(float g, float m, float n, float uniform) {
  const bool as_it_is = !(m > 0.0f) | (m == INFINITY) | (g != g);
  const float r = g / m * 0.5f + 0.5f + (uniform - 0.5f) / n;
  const float quantized = (2.0f * (dorefa_code(r, n) / n) - 1.0f) * m;
  return as_it_is ? g : quantized;  // no branch: vectorises
}

// ---- tanh ----

// e^a for |a| <= 40: a = k ln 2 + r, |r| <= ln 2 / 2; Taylor to r^11, relative error below 1e-14.
HALFTONE_HD double dorefa_exp(double a) {
  constexpr double kRound = 0x1.8p52;  // a sum with it is whole, its low bits are that integer
  union {
    double value;
    int64_t bits;
  } power;
  power.value = a * 1.4426950408889634 + kRound;
  const double k = power.value - kRound;
  power.bits = static_cast<int64_t>((static_cast<uint64_t>(power.bits) + 1023) << 52);  // 2^k
  const double r = (a - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
  double p = 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  return p * power.value;
}

HALFTONE_HD float dorefa_tanh(float w) {
  const double x = static_cast<double>(w), size = x < 0.0 ? -x : x;
  // Above 10 tanh rounds to 1; below 2^-8 three terms of its series are exact to 1e-18.
  const double e = dorefa_exp(2.0 * (size < 10.0 ? size : 10.0));
  const double square = x * x;
  const double series = x + x * square * (-1.0 / 3.0 + square * (2.0 / 15.0));
  const double far = x < 0.0 ? 2.0 / (e + 1.0) - 1.0 : 1.0 - 2.0 / (e + 1.0);
  const double t = size < 0x1p-8 ? series : far;
  return static_cast<float>(w == w ? t : x);
}

}  // namespace halftone::quant_math
