// One forward of a chain: the constants of the epilogue, and what the backward needs. Inside
// //quant and //deploy only.
#pragma once

#include <algorithm>

#include "kernels/epilogue.h"
#include "quant/chain.h"

namespace halftone {

// Whether weights on these grids are more than their codes, or than int8 holds.
inline bool has_zero_points(const std::vector<quant_math::Grid>& grids) {
  return std::any_of(grids.begin(), grids.end(),
                     [](const quant_math::Grid& g) { return g.zero_point != 0 || g.qmax > 127; });
}

// Codes and constants of one call.
struct ChainStep {
  // What comes in.
  Codes x;
  bool batch_statistics = false;  // batch norm in training
  // Weights.
  Tensor weight;  // the float values that are quantized: raw, or each row times row_factor
  std::vector<double> row_factor;  // gamma / sigma_run of folded weights, else 1
  Tensor weight_codes;  // int8, negated and shifted; less weight_options.offsets of their rows
  FakeQuantize::GradientFn weight_gradient;
  size_t learned_of_weight = 0;  // parameters of its quantizer
  kernels::WeightCodes weight_options;
  std::vector<double> acc_scale;  // signed: real value of one accumulator step, s_x * s_w * (+-1)
  // Accumulator, behind the pooling if there is one, and its statistics.
  Tensor acc;
  Shape conv_shape;                           // before the pooling
  Tensor pool_taps;                           // of training
  kernels::AccumulatorStatistics statistics;  // filled where they are needed
  std::vector<quant_math::Folded> folded;
  kernels::Channels channels;
  // The activation as bounds: reals, and the same in output steps.
  float act_low = -INFINITY, act_high = INFINITY;
  quant_math::Pass pass;
  // The output.
  bool quantized = false;
  bool signs = false;  // the code is that of the sign; channels then lead to reals
  QuantParams y;
  std::optional<LearnedGrid> learned;  // of a learned output grid
  // Of a quantized gradient of the accumulator.
  std::optional<Philox> gradient_noise;

  int64_t out_channels() const { return weight.dim(0); }
  bool has_zero_points() const { return halftone::has_zero_points(weight_options.grids); }
  const quant_math::Grid& grid_of_row(int64_t c) const {
    return weight_options.grids[weight_options.grids.size() > 1 ? c : 0];
  }
};

// Fills everything but the result, and moves the running statistics. x holds codes; the weight
// quantizer has its scales.
ChainStep prepare_step(Chain& chain, const Variable& x);
// What evaluation uses for an input on this grid: codes, constants (running statistics) and the
// output's grid, without an input or an accumulator. Weight rows of constant channels are zero.
ChainStep deployed_step(const Chain& chain, const QuantParams& x);
// Throws where a batch has one value per channel, of which there is no variance.
void check_batch(int64_t count);
// A chain's operation on x, without its backward: its operands, and the learned numbers of its
// quantizers, the output's too where it quantizes.
OpRecord record_of(const Chain& chain, const Variable& x, bool quantizes_output);
// Of the epilogue to codes: [lo - z, hi - z] after activation and quantizer, and the channels.
kernels::CodeRange code_range(const ChainStep& step);
kernels::Channels code_channels(const ChainStep& step);

// Gradients of the unrounded epilogue, straight through the rounding.
BackwardFn chain_backward(const Chain& chain, std::shared_ptr<const ChainStep> step);

}  // namespace halftone
