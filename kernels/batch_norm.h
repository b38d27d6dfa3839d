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

// y = act((x - mean) / sqrt(variance + eps) * weight + bias + addend); weight, bias and addend may
// be null. The bits are those of the separate steps.
void batch_norm_apply(const Tensor& x, const Tensor& mean, const Tensor& variance, float eps,
                      const Tensor* weight, const Tensor* bias, const ActivationOptions& act,
                      Tensor& y, const Tensor* addend = nullptr);

// Backward of the line above. use_batch_statistics: mean and variance depend on x (training).
// y is the output of the forward (for the activation's mask). dweight, dbias may be null.
void batch_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& y, const Tensor& mean,
                         const Tensor& variance, float eps, const Tensor* weight,
                         const ActivationOptions& act, bool use_batch_statistics, Tensor& dx,
                         Tensor* dweight, Tensor* dbias);

}  // namespace halftone::kernels
