// Elementwise activations, float32. A clamp family covers ReLU, ReLU6 and Hardtanh.
#pragma once

#include "tensor/tensor.h"

namespace halftone {

enum class Activation : uint8_t { kIdentity, kReLU, kReLU6, kHardtanh, kLeakyReLU, kSigmoid };

// The activations that only bound their input: they pass through max pooling and rounding.
constexpr bool is_clamp(Activation kind) {
  return kind == Activation::kReLU || kind == Activation::kReLU6 || kind == Activation::kHardtanh;
}

struct ActivationOptions {
  Activation kind = Activation::kIdentity;
  float low = -1.0f, high = 1.0f;  // Hardtanh
  float slope = 0.01f;             // LeakyReLU
};

namespace kernels {
void activation(const Tensor& x, const ActivationOptions& options, Tensor& y);
// y = f(a + b)
void add_activation(const Tensor& a, const Tensor& b, const ActivationOptions& options, Tensor& y);
// dx = dy * f'(x), from the output y alone where the derivative allows it (all but LeakyReLU with
// slope <= 0). Derivative 0 at the kinks, as PyTorch: ReLU y > 0; ReLU6, Hardtanh low < y < high.
void activation_backward(const Tensor& dy, const Tensor& y, const ActivationOptions& options,
                         Tensor& dx);
// y = x * mask / (1 - p), mask from the stream, element by element; the same call makes the
// backward.
void dropout(const Tensor& x, float p, const Philox& stream, Tensor& y);
}  // namespace kernels
}  // namespace halftone
