// DoReFa-Net's weights, activations and gradients on a CUDA device; rules in integer/dorefa_math.h.
#pragma once

#include "kernels/cuda/stream.h"
#include "kernels/integer/dorefa_math.h"
#include "tensor/dtype.h"
#include "tensor/random.h"

namespace halftone::kernels::cuda {

struct DorefaWeightsArgs {
  int64_t numel = 0;
  DType dtype = DType::kFloat32;
  int bits = 2;  // 2 to 16
  const void* w = nullptr;
  void* y = nullptr;         // in [-1, 1]
  float* largest = nullptr;  // max |tanh w|, for backward
};
void dorefa_weights(Stream& stream, const DorefaWeightsArgs& args);

struct DorefaWeightsBackwardArgs {
  int64_t numel = 0;
  DType dtype = DType::kFloat32;
  const void* dy = nullptr;
  const void* w = nullptr;
  const float* largest = nullptr;                // of the forward
  quant_math::DorefaWeightRule* rule = nullptr;  // room for one
  void* dw = nullptr;
};
void dorefa_weights_backward(Stream& stream, const DorefaWeightsBackwardArgs& args);

struct DorefaActivationsArgs {
  int64_t numel = 0;
  DType dtype = DType::kFloat32;
  int bits = 2;  // 1 to 16
  const void* x = nullptr;
  void* y = nullptr;
};
void dorefa_activations(Stream& stream, const DorefaActivationsArgs& args);

struct DorefaActivationsBackwardArgs {
  int64_t numel = 0;
  DType dtype = DType::kFloat32;
  const void* dy = nullptr;
  const void* x = nullptr;
  void* dx = nullptr;
};
void dorefa_activations_backward(Stream& stream, const DorefaActivationsBackwardArgs& args);

struct DorefaGradientsArgs {
  int64_t samples = 0, length = 0;  // length: elements of a sample
  DType dtype = DType::kFloat32;
  int bits = 6;  // 1 to 16
  Philox noise;  // element i takes noise.uniform(i)
  const void* x = nullptr;
  void* y = nullptr;         // may be x
  float* largest = nullptr;  // room for max |x| of every sample
};
void dorefa_gradients(Stream& stream, const DorefaGradientsArgs& args);

#define HALFTONE_DOREFA_KERNELS(K)                              \
  K(dorefa_weights, DorefaWeightsArgs)                          \
  K(dorefa_weights_backward, DorefaWeightsBackwardArgs)         \
  K(dorefa_activations, DorefaActivationsArgs)                  \
  K(dorefa_activations_backward, DorefaActivationsBackwardArgs) \
  K(dorefa_gradients, DorefaGradientsArgs)

}  // namespace halftone::kernels::cuda
