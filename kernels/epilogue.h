// The four passes over an int32 accumulator (rows, channels): statistics, epilogue, and the two of
// the backward. Channels are the last axis.
#pragma once

#include <vector>

#include "kernels/integer/lsq_math.h"
#include "kernels/integer/quant_math.h"
#include "tensor/tensor.h"

namespace halftone::kernels {

// Exact, so independent of order and of threads.
struct AccumulatorStatistics {
  int64_t count = 0;  // per channel
  std::vector<int64_t> sum;
  std::vector<__int128> sum_squares;
  std::vector<int32_t> low, high;

  double mean(int64_t c) const { return static_cast<double>(sum[c]) / static_cast<double>(count); }
  double variance(int64_t c) const;  // biased
};

// bound: no |acc| is larger. Throws on an empty batch.
AccumulatorStatistics accumulator_statistics(const Tensor& acc, int64_t bound);
// acc holds floats in the bytes of its int32: they become those integers, in the same pass.
AccumulatorStatistics to_accumulators(Tensor& acc, int64_t bound);

using Channels = std::vector<quant_math::Channel>;

// codes (uint8) = quant_math::epilogue(acc, channel, low, high, zero_point).
struct CodeRange {
  float low = 0, high = 255;  // lo - z, hi - z after the activation
  int32_t zero_point = 0;
};
void epilogue_to_codes(const Tensor& acc, const Channels& channels, const CodeRange& range,
                       Tensor& codes);
// y (float32) = quant_math::epilogue_float.
void epilogue_to_float(const Tensor& acc, const Channels& channels, float low, float high,
                       Tensor& y);

// A learned output grid (LSQ, at the edges as in the paper): the activation's bounds in output
// steps, and the rule for what it leaves, in output steps too (rule.scale does not count).
struct LearnedOutput {
  float act_low = -INFINITY, act_high = INFINITY;
  quant_math::LsqRule rule;
};

// g = dy where the unrounded epilogue passes, else 0.
// sum[c] = sum of g, sum_centred[c] = sum of g * (acc - centre[c]); with `learned`, scale and
// offset = sums of dy times quant_math::lsq_share over all channels.
struct GradientSums {
  std::vector<double> sum, sum_centred;
  double scale = 0, offset = 0;
};
GradientSums epilogue_backward_sums(const Tensor& dy, const Tensor& acc, const Channels& channels,
                                    const quant_math::Pass& pass, const std::vector<float>& centre,
                                    const LearnedOutput* learned = nullptr);

// dacc = a[c] * g + b[c] * (acc - centre[c]) + d[c]
struct GradientCoefficients {
  std::vector<float> a, b, d, centre;
};
void epilogue_backward_apply(const Tensor& dy, const Tensor& acc, const Channels& channels,
                             const quant_math::Pass& pass, const GradientCoefficients& coefficients,
                             Tensor& dacc);

}  // namespace halftone::kernels
