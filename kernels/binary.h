// One-bit values and their gradients; rules in integer/binary_math.h. float32. A result may be the
// same tensor as an operand.
#pragma once

#include <vector>

#include "kernels/integer/binary_math.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

namespace halftone::kernels {

// y = sign(x), sign(0) = +1.
void binarize(const Tensor& x, Tensor& y);
// y = +-1 at random; element i takes noise.uniform(i).
void binarize_stochastic(const Tensor& x, const Philox& noise, Tensor& y);
// dx = dy times the derivative that stands for sign's.
void binarize_backward(const Tensor& dy, const Tensor& x, quant_math::SignGradient rule,
                       Tensor& dx);

// w = clamp(w, -1, 1), in place: latent weights after the optimizer's step.
void clip_latent_weights(Tensor& w);

// Mean of |w|: per row of axis 0 (XNOR-Net's alpha, one per output channel), or one of all
// (DoReFa with one bit). Sums in double.
std::vector<float> mean_magnitude(const Tensor& w, bool per_row);
// y = alpha sign(w); one alpha, or one per row.
void binarize_scaled(const Tensor& w, const std::vector<float>& alpha, Tensor& y);

// Gradient of alpha sign(w), alpha = mean_magnitude(w, alpha.size() > 1), straight through sign.
void binarize_scaled_backward(const Tensor& dy, const Tensor& w, const std::vector<float>& alpha,
                              Tensor& dw);

}  // namespace halftone::kernels
