// Batch normalisation on a CUDA device (batch_norm.h). x (rows, channels), float32.
#pragma once

#include "kernels/activation.h"
#include "kernels/cuda/grids.h"
#include "kernels/cuda/stream.h"

namespace halftone::kernels::cuda {

// Mean and biased variance per channel, in two stages: float sums of a few terms about a sampled
// mean, double above them, blocks in order.
struct BatchNormStatisticsArgs {
  int64_t rows = 0, channels = 1;
  const float* x = nullptr;
  float* mean = nullptr;
  float* variance = nullptr;
};
void batch_norm_statistics(Stream& stream, const BatchNormStatisticsArgs& args);

struct BatchNormUpdateArgs {
  int64_t rows = 0, channels = 1;  // rows: values per channel, at least 2
  float momentum = 0.1f;
  const float* mean = nullptr;
  const float* variance = nullptr;
  float* running_mean = nullptr;
  float* running_variance = nullptr;
};
void batch_norm_update(Stream& stream, const BatchNormUpdateArgs& args);

// (channels) each; weight and bias may be null.
struct NormInputs {
  const float *mean = nullptr, *variance = nullptr, *weight = nullptr, *bias = nullptr;
  float eps = 1e-5f;
  ActivationOptions act;
};

struct BatchNormApplyArgs {
  int64_t rows = 0, channels = 1;
  NormInputs norm;
  const float* x = nullptr;
  const float* addend = nullptr;  // may be null
  float* y = nullptr;
};
void batch_norm_apply(Stream& stream, const BatchNormApplyArgs& args);

// The same, and what a quantizer makes of it in the same pass: signs, fake-quantized values, or
// uint8 codes of one grid. No addend.
enum class NormOutput : uint8_t { kSign, kFakeQuantized, kCodes };
struct BatchNormQuantizeArgs {
  int64_t rows = 0, channels = 1;
  NormInputs norm;
  NormOutput output = NormOutput::kCodes;
  DeviceGrids grids;  // one grid; not for signs
  const float* x = nullptr;
  void* y = nullptr;  // float32, or uint8 codes
};
void batch_norm_quantize(Stream& stream, const BatchNormQuantizeArgs& args);

struct BatchNormBackwardArgs {
  int64_t rows = 0, channels = 1;
  NormInputs norm;
  bool use_batch_statistics = true;
  const float* dy = nullptr;
  const float* x = nullptr;
  const float* y = nullptr;  // the result of a forward with an addend; else null
  float* dx = nullptr;       // may be dy
  float* dweight = nullptr;  // these three may be null
  float* dbias = nullptr;
  float* daddend = nullptr;       // only with y; may be dy where dx is not
  float* coefficients = nullptr;  // room for 2 * channels
};
void batch_norm_backward(Stream& stream, const BatchNormBackwardArgs& args);

#define HALFTONE_BATCH_NORM_KERNELS(K)              \
  K(batch_norm_statistics, BatchNormStatisticsArgs) \
  K(batch_norm_update, BatchNormUpdateArgs)         \
  K(batch_norm_apply, BatchNormApplyArgs)           \
  K(batch_norm_quantize, BatchNormQuantizeArgs)     \
  K(batch_norm_backward, BatchNormBackwardArgs)

}  // namespace halftone::kernels::cuda
