// Activations and dropout on a CUDA device (activation.h). float32.
#pragma once

#include "kernels/activation.h"
#include "kernels/cuda/stream.h"

namespace halftone::kernels::cuda {

struct ActivationArgs {
  int64_t numel = 0;
  ActivationOptions options;
  const float* x = nullptr;
  float* y = nullptr;  // may be x
};
void activation(Stream& stream, const ActivationArgs& args);

struct ActivationBackwardArgs {
  int64_t numel = 0;
  ActivationOptions options;
  const float* dy = nullptr;
  const float* y = nullptr;  // the forward's result
  float* dx = nullptr;       // may be dy
};
void activation_backward(Stream& stream, const ActivationBackwardArgs& args);

struct DropoutArgs {
  int64_t numel = 0;
  float p = 0.5f;
  Philox random;  // element i is dropped where random.uniform(i) < p, as on the CPU
  const float* x = nullptr;
  float* y = nullptr;
};
void dropout(Stream& stream, const DropoutArgs& args);

#define HALFTONE_ACTIVATION_KERNELS(K)           \
  K(activation, ActivationArgs)                  \
  K(activation_backward, ActivationBackwardArgs) \
  K(dropout, DropoutArgs)

}  // namespace halftone::kernels::cuda
