// Optimizer steps over flat float32 ranges; PyTorch's formulas and order of operations.
#pragma once

#include "tensor/tensor.h"

namespace halftone::kernels {

struct SgdOptions {
  float lr = 1e-3f, momentum = 0.0f, dampening = 0.0f, weight_decay = 0.0f;
  bool nesterov = false;
  bool first_step = false;  // the momentum buffer is set, not updated
};
// p, grad, momentum_buffer: same numel (flat views). momentum_buffer is ignored when momentum is 0.
void sgd_step(const SgdOptions& options, const Tensor& grad, Tensor& p, Tensor& momentum_buffer);

struct AdamOptions {
  float lr = 1e-3f, beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f, weight_decay = 0.0f;
  bool decoupled = false;  // AdamW
  int64_t step = 1;        // 1 on the first call
};
void adam_step(const AdamOptions& options, const Tensor& grad, Tensor& p, Tensor& exp_avg, Tensor& exp_avg_sq);

}  // namespace halftone::kernels
