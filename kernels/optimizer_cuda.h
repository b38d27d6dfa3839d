// Optimizer steps on a CUDA device: all parameters, one flat buffer each, in one launch. float32.
#pragma once

#include "kernels/cuda/stream.h"
#include "kernels/optimizer.h"

namespace halftone::kernels::cuda {

struct SgdArgs {
  int64_t numel = 0;
  SgdOptions options;
  const float* grad = nullptr;
  float* p = nullptr;
  float* momentum_buffer = nullptr;  // with momentum only
};
void sgd_step(Stream& stream, const SgdArgs& args);

// Denormals count as zero, as on the CPU.
struct AdamArgs {
  int64_t numel = 0;
  AdamOptions options;
  const float* grad = nullptr;
  float* p = nullptr;
  float* exp_avg = nullptr;
  float* exp_avg_sq = nullptr;
};
void adam_step(Stream& stream, const AdamArgs& args);

#define HALFTONE_SGD_KERNELS(K) K(sgd_step, SgdArgs)
#define HALFTONE_ADAM_KERNELS(K) K(adam_step, AdamArgs)

}  // namespace halftone::kernels::cuda
