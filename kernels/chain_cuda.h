// Constants of layers on codes, on a CUDA device (integer/chain_math.h): scales, statistics and
// sums become what the kernels of epilogue_cuda.h and codes_cuda.h read, without the host.
#pragma once

#include "kernels/add_codes.h"
#include "kernels/cuda/grids.h"
#include "kernels/cuda/stream.h"
#include "kernels/epilogue_cuda.h"
#include "kernels/integer/chain_math.h"
#include "kernels/observe_cuda.h"

namespace halftone::kernels::cuda {

struct OutputGridArgs {
  DeviceGrids grid;  // one
  quant_math::OutputRule rule;
  quant_math::OutputGrid* output = nullptr;  // may be null
  int32_t* zero_point = nullptr;             // of the codes as they are stored; may be null
};
void output_grid(Stream& stream, const OutputGridArgs& args);

// Of weight rows whose codes are stored shifted left, and negated where gamma is negative
// (WeightResult::kIntegers of weights_cuda.h).
struct WeightRowsArgs {
  int64_t rows = 0;
  const float* input_scale = nullptr;
  const float* scale = nullptr;  // of the weight: one, or, per_row, one per row
  bool per_row = false;
  const float* gamma = nullptr;  // null: positive
  int shift = 0;
  int32_t* flips = nullptr;  // -1 of negated rows, else 0
  double* units = nullptr;   // real value of an accumulator step
  float* reals = nullptr;    // of a stored code
};
void weight_rows(Stream& stream, const WeightRowsArgs& args);

// Batch norm of the batch's statistics, of the running ones, or none, into the scale.
struct FoldChannelsArgs {
  int64_t channels = 0, count = 0;  // count: values per channel
  const float* input_scale = nullptr;
  const float* weight_scale = nullptr;  // one, or, per_row, one per channel
  bool per_row = false;
  int shift = 0;
  const double* units = nullptr;
  bool normalised = false;
  const AccumulatorTotal* totals = nullptr;                        // null: running statistics
  const float *gamma = nullptr, *beta = nullptr, *bias = nullptr;  // may be null
  const float *running_mean = nullptr, *running_variance = nullptr;
  float eps = 0;
  const quant_math::OutputGrid* output = nullptr;  // null: the output stays float
  quant_math::Channel* constants = nullptr;
  quant_math::Normalised* normal = nullptr;
  float* centre = nullptr;                     // of the backward's sums
  float *mean = nullptr, *variance = nullptr;  // the batch's, as reals; with totals
};
void fold_channels(Stream& stream, const FoldChannelsArgs& args);

// The range of what an epilogue to floats with these constants would give, tracked as observe()
// does. It is monotone, so that the ends of the channels' accumulators tell.
struct ObserveAccumulatorsArgs {
  int64_t channels = 0;
  const AccumulatorTotal* totals = nullptr;
  const quant_math::Channel* constants = nullptr;
  float act_low = -INFINITY, act_high = INFINITY;
  ObserveArgs track;  // without x and layout: one range
};
void observe_accumulators(Stream& stream, const ObserveAccumulatorsArgs& args);

// The same of the sum of two codes of one scale: of the ends of t in add_codes.h.
struct ObserveSumArgs {
  const SumRange* range = nullptr;
  const float* scale = nullptr;
  float act_low = -INFINITY, act_high = INFINITY;
  ObserveArgs track;
};
void observe_sum(Stream& stream, const ObserveSumArgs& args);

// Edges that share a scale: the largest that any range asks for. Those that follow take the range
// of all others.
struct SharedRange {
  float *low = nullptr, *high = nullptr;
  quant_math::GridRule rule;
  bool follows = false;
};
struct ShareScaleArgs {
  int count = 0;
  const SharedRange* members = nullptr;  // on the device
  float* scale = nullptr;
};
void share_scale(Stream& stream, const ShareScaleArgs& args);

// Constants of an epilogue to floats that makes means of sums over `count` codes.
struct MeanChannelsArgs {
  int64_t channels = 0, count = 1;
  const float* scale = nullptr;
  quant_math::Channel* constants = nullptr;
};
void mean_channels(Stream& stream, const MeanChannelsArgs& args);

// y = factor total
struct WriteScaledArgs {
  const double* total = nullptr;
  double factor = 1;
  float* y = nullptr;
};
void write_scaled(Stream& stream, const WriteScaledArgs& args);

// From the sums of epilogue_backward_sums to gradients and the slopes of epilogue_backward_apply.
struct ChannelGradientsArgs {
  int64_t channels = 0, count = 0;
  bool batch_statistics = false;
  const quant_math::Normalised* normal = nullptr;
  const double* sums = nullptr;
  EpilogueSlope* slopes = nullptr;
  float *dgamma = nullptr, *dbeta = nullptr, *dbias = nullptr;  // may be null
  // Of a learned output grid: factor times the sums over all channels; null: none, and two sums a
  // channel in place of four where `learned` is false.
  bool learned = false;
  double factor = 1;
  float *dscale = nullptr, *doffset = nullptr;
};
void channel_gradients(Stream& stream, const ChannelGradientsArgs& args);

// y = factors[row] x; y may be x.
struct ScaleRowsArgs {
  int64_t rows = 0, length = 0;
  const float* factors = nullptr;
  const float* x = nullptr;
  float* y = nullptr;
};
void scale_rows(Stream& stream, const ScaleRowsArgs& args);

// After an optimizer's step: s at least the floor, beta where zero has a code (LsqQuantize).
struct ClampLearnedArgs {
  int64_t count = 0;
  float* scale = nullptr;
  float* offset = nullptr;  // may be null
  int32_t qmin = 0, qmax = 255;
};
void clamp_learned(Stream& stream, const ClampLearnedArgs& args);

#define HALFTONE_CHAIN_KERNELS(K)                  \
  K(output_grid, OutputGridArgs)                   \
  K(weight_rows, WeightRowsArgs)                   \
  K(fold_channels, FoldChannelsArgs)               \
  K(observe_accumulators, ObserveAccumulatorsArgs) \
  K(observe_sum, ObserveSumArgs)                   \
  K(share_scale, ShareScaleArgs)                   \
  K(mean_channels, MeanChannelsArgs)               \
  K(write_scaled, WriteScaledArgs)                 \
  K(channel_gradients, ChannelGradientsArgs)       \
  K(scale_rows, ScaleRowsArgs)                     \
  K(clamp_learned, ClampLearnedArgs)

}  // namespace halftone::kernels::cuda
