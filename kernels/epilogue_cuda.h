// Accumulators to codes on a CUDA device: batch norm, activation and quantization in one pass, by
// quant_math::epilogue. Channels are the last axis.
#pragma once

#include "kernels/cuda/stream.h"
#include "kernels/integer/quant_math.h"
#include "tensor/dtype.h"

namespace halftone::kernels::cuda {

struct EpilogueArgs {
  int64_t rows = 0, channels = 1;
  const int32_t* acc = nullptr;
  const quant_math::Channel* constants = nullptr;  // channels, on the device
  float low = 0, high = 255;                       // lo - z, hi - z after the activation
  int32_t zero_point = 0;
  uint8_t* codes = nullptr;
};
void epilogue_to_codes(Stream& stream, const EpilogueArgs& args);

// For outputs that nobody quantizes; the activation's bounds as reals.
struct EpilogueFloatArgs {
  int64_t rows = 0, channels = 1;
  const int32_t* acc = nullptr;
  const quant_math::Channel* constants = nullptr;
  float low = -INFINITY, high = INFINITY;
  float* y = nullptr;
};
void epilogue_to_float(Stream& stream, const EpilogueFloatArgs& args);

#define HALFTONE_EPILOGUE_KERNELS(K) \
  K(epilogue_to_codes, EpilogueArgs) \
  K(epilogue_to_float, EpilogueFloatArgs)

}  // namespace halftone::kernels::cuda
