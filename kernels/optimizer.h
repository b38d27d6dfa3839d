// Optimizer steps over flat float32 ranges; PyTorch's formulas and order of operations.
#pragma once

#include "tensor/tensor.h"

namespace halftone::kernels {

// Options are double, as Python's are: 1 - 0.999f is 1.3e-5 off 0.001, and Adam uses it.
struct SgdOptions {
  double lr = 1e-3, momentum = 0.0, dampening = 0.0, weight_decay = 0.0;
  bool nesterov = false;
  bool first_step = false;  // the momentum buffer is set, not updated
};
// p, grad, momentum_buffer: same numel (flat views). momentum_buffer is ignored when momentum is 0.
void sgd_step(const SgdOptions& options, const Tensor& grad, Tensor& p, Tensor& momentum_buffer);

struct AdamOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.0;
  bool decoupled = false;  // AdamW
  int64_t step = 1;        // 1 on the first call
};
void adam_step(const AdamOptions& options, const Tensor& grad, Tensor& p, Tensor& exp_avg,
               Tensor& exp_avg_sq);

}  // namespace halftone::kernels
