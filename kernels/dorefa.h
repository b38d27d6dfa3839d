// DoReFa-Net's weights, activations and gradients; rules in integer/dorefa_math.h. float32; bits 1
// to 16 (weights: 2 to 16; one bit is binarize_scaled of binary.h). Results may be an operand.
#pragma once

#include "kernels/integer/dorefa_math.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

namespace halftone::kernels {

// max |tanh w| over the tensor, 0 when it is empty; NaN left out. Not yet raised to the floor.
float dorefa_largest(const Tensor& w);
// w_q = 2 quantize_k(tanh(w) / (2 largest) + 1/2) - 1, in [-1, 1].
void dorefa_weights(const Tensor& w, float largest, int bits, Tensor& y);
// Through tanh and the max, straight through the rounding.
void dorefa_weights_backward(const Tensor& dy, const Tensor& w, float largest, Tensor& dw);

// y = quantize_k(clamp(x, 0, 1)).
void dorefa_activations(const Tensor& x, int bits, Tensor& y);
// dx = dy where 0 <= x <= 1, else 0.
void dorefa_activations_backward(const Tensor& dy, const Tensor& x, Tensor& dx);

// Quantized with noise, range per sample (axis 0); element i takes noise.uniform(i).
void dorefa_gradients(const Tensor& g, int bits, const Philox& noise, Tensor& y);

}  // namespace halftone::kernels
