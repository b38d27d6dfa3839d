// Batch normalisation over the last axis: x (N, ..., C), float32.
#pragma once

#include "kernels/activation.h"
#include "tensor/tensor.h"

namespace halftone::kernels {

// Per channel mean and biased variance of the batch (C each): sums about a sampled mean per fixed
// chunk, combined as Chan et al. 1983; within 1e-6 of double, whatever the mean.
void batch_norm_statistics(const Tensor& x, Tensor& mean, Tensor& variance);

// running = (1 - momentum) running + momentum batch, with the unbiased variance, as PyTorch.
void batch_norm_update(const Tensor& mean, const Tensor& variance, int64_t count, float momentum,
                       Tensor& running_mean, Tensor& running_variance);

// (C) each; weight and bias may be null.
struct Normalization {
  const Tensor &mean, &variance;
  float eps;
  const Tensor *weight, *bias;
  ActivationOptions act;
};

// y = act((x - mean) / sqrt(variance + eps) * weight + bias + addend); the addend may be null. The
// bits are those of the separate steps.
void batch_norm_apply(const Tensor& x, const Normalization& norm, Tensor& y,
                      const Tensor* addend = nullptr);

// y = sign(batch_norm_apply(x)), sign(0) = +1, on a device in the same pass.
void batch_norm_sign(const Tensor& x, const Normalization& norm, Tensor& y);

// Results of the backward; null where nobody wants one, but for x. The addend's gradient is dy past
// the activation, in place where it is dy itself.
struct BatchNormGradients {
  Tensor *x, *weight, *bias, *addend = nullptr;
};

// Backward of batch_norm_apply. use_batch_statistics: mean and variance depend on x (training).
// y: what the forward with an addend gave; without one null, since the activation's mask then
// follows from x (one array less to read).
void batch_norm_backward(const Tensor& dy, const Tensor& x, const Tensor* y,
                         const Normalization& norm, bool use_batch_statistics,
                         const BatchNormGradients& gradients);

}  // namespace halftone::kernels
