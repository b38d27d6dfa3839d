// One-bit values, one element at a time. BNN: Hubara et al. 2016, "Binarized neural networks";
// XNOR-Net: Rastegari et al. 2016; Bi-Real: Liu et al. 2018, "Bi-Real Net".
#pragma once

#include "kernels/integer/quant_math.h"

namespace halftone::quant_math {

// +1 for x >= 0, both zeros included (BNN, eq. 1), else -1; NaN is -1, as the lowest code.
template <class V>
HALFTONE_HD V binary_sign(V x) {
  return select(x >= V(0.0f), V(1.0f), V(-1.0f));
}

// BNN, eq. 2 and 3: +1 with probability p = clamp((x + 1) / 2, 0, 1), else -1. `uniform` in [0, 1)
// with 24 bits, so p = 0 never and p = 1 always gives +1. NaN is -1.
HALFTONE_HD float stochastic_sign(float x, float uniform) {
  const float p = clamp_nan_low((x + 1.0f) * 0.5f, 0.0f, 1.0f);
  return uniform < p ? 1.0f : -1.0f;
}

// How the gradient passes sign().
enum class SignGradient : uint8_t {
  kStraightThrough,  // 1 where |x| <= 1, else 0 (BNN, eq. 4)
  kApproxSign,       // 2 - 2 |x| where |x| < 1, else 0 (Bi-Real)
};

// d sign / dx. NaN: 0.
template <class V>
HALFTONE_HD V sign_derivative(V x, SignGradient rule) {
  const V zero(0.0f), one(1.0f), two(2.0f), size = select(x < zero, zero - x, x);
  if (rule == SignGradient::kStraightThrough) return select(size <= one, one, zero);
  return select(size < one, two - two * size, zero);
}

// Latent weights after an optimizer step. NaN stays, to be seen.
HALFTONE_HD float clip_latent(float w) { return w < -1.0f ? -1.0f : (w > 1.0f ? 1.0f : w); }

// The gradient of alpha sign(w), alpha = mean |w| over the n weights of an output channel, as
// XNOR-Net has it: (1 / n + alpha d) dy, d = sign_derivative(w).
HALFTONE_HD float xnor_gradient(float dy, float alpha, float derivative, float one_nth) {
  return (one_nth + alpha * derivative) * dy;
}

}  // namespace halftone::quant_math
