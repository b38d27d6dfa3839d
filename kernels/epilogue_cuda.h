// Accumulators to codes on a CUDA device: batch norm, activation and quantization in one pass, by
// quant_math::epilogue. Channels are the last axis.
#pragma once

#include "kernels/cuda/stream.h"
#include "kernels/integer/chain_math.h"
#include "tensor/dtype.h"

namespace halftone::kernels::cuda {

struct EpilogueArgs {
  int64_t rows = 0, channels = 1;
  const int32_t* acc = nullptr;
  const quant_math::Channel* constants = nullptr;  // channels, on the device
  float low = 0, high = 255;                       // lo - z, hi - z after the activation
  int32_t zero_point = 0;
  uint8_t* codes = nullptr;
  const quant_math::OutputGrid* grid = nullptr;  // of the device, in place of those three
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

// Whole numbers as floats to int32, times a factor; added to what is there, or in its place. y may
// be x.
struct ToAccumulatorsArgs {
  int64_t numel = 0;
  int32_t factor = 1;
  bool adds = false;
  const float* x = nullptr;
  int32_t* y = nullptr;
};
void to_accumulators(Stream& stream, const ToAccumulatorsArgs& args);

// Of one channel; the sum of squares is exact: carries 2^64 + squares.
struct AccumulatorTotal {
  int64_t sum = 0;
  uint64_t squares = 0;
  uint32_t carries = 0;
  int32_t low = INT32_MAX, high = INT32_MIN;
};
struct AccumulatorStatisticsArgs {
  int64_t rows = 0, channels = 1;
  const int32_t* acc = nullptr;
  AccumulatorTotal* totals = nullptr;  // channels
};
void accumulator_statistics(Stream& stream, const AccumulatorStatisticsArgs& args);

// The two passes of the backward (epilogue.h): per channel the sums of g and of g (acc - centre)
// and, of a learned output grid, of dy times the shares of its scale and offset.
struct EpilogueSumsArgs {
  int64_t rows = 0, channels = 1;
  const float* dy = nullptr;
  const int32_t* acc = nullptr;
  const quant_math::Channel* constants = nullptr;
  const float* centre = nullptr;  // channels
  quant_math::Pass pass;
  bool learned = false;
  float act_low = 0, act_high = 0;  // with `learned`: as in LearnedOutput, in output steps
  quant_math::LsqRule rule;
  double* sums = nullptr;                        // channels x 2, with `learned` x 4
  const quant_math::OutputGrid* grid = nullptr;  // of the device, in place of all four rules
};
void epilogue_backward_sums(Stream& stream, const EpilogueSumsArgs& args);

// dacc = a g + b (acc - centre) + d
struct EpilogueSlope {
  float a = 0, b = 0, d = 0, centre = 0;
};
struct EpilogueApplyArgs {
  int64_t rows = 0, channels = 1;
  const float* dy = nullptr;
  const int32_t* acc = nullptr;
  const quant_math::Channel* constants = nullptr;
  const EpilogueSlope* slopes = nullptr;  // channels
  quant_math::Pass pass;
  float* dacc = nullptr;                         // may be dy
  const quant_math::OutputGrid* grid = nullptr;  // of the device, in place of `pass`
};
void epilogue_backward_apply(Stream& stream, const EpilogueApplyArgs& args);

#define HALFTONE_EPILOGUE_KERNELS(K)                   \
  K(epilogue_to_codes, EpilogueArgs)                   \
  K(epilogue_to_float, EpilogueFloatArgs)              \
  K(to_accumulators, ToAccumulatorsArgs)               \
  K(accumulator_statistics, AccumulatorStatisticsArgs) \
  K(epilogue_backward_sums, EpilogueSumsArgs)          \
  K(epilogue_backward_apply, EpilogueApplyArgs)

}  // namespace halftone::kernels::cuda
