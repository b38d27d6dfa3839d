#include "quant/chain_step.h"

#include <cmath>

#include "kernels/batch_norm.h"
#include "kernels/elementwise.h"
#include "kernels/integer/chain_math.h"
#include "kernels/integer_conv.h"
#include "kernels/pool.h"
#include "quant/fold.h"
#include "quant/host_values.h"
#include "quant/range_quantize.h"

namespace halftone {
namespace {

double value_at(const Tensor& t, int64_t c, double otherwise) {
  return t.defined() ? static_cast<double>(t.data<float>()[c]) : otherwise;
}

Tensor home_of(const Variable& v) { return v.defined() ? at_home(v.value()) : Tensor(); }

// What the constants of a chain are made of; undefined where there is no such thing.
struct LayerNumbers {
  explicit LayerNumbers(const Chain& chain) : bias(home_of(chain.bias())) {
    if (chain.norm == nullptr) return;
    gamma = home_of(chain.norm->weight);
    beta = home_of(chain.norm->bias);
    read_statistics(chain);
  }
  void read_statistics(const Chain& chain) {
    mean = at_home(*chain.norm->running_mean);
    variance = at_home(*chain.norm->running_var);
  }
  bool is_negative(int64_t c) const { return value_at(gamma, c, 1) < 0; }

  Tensor bias, gamma, beta, mean, variance;  // running statistics
};

// s_w of the stored codes: shifted left, so 2^shift times finer. Exact.
float stored_scale(const ChainStep& step, int64_t c) {
  return quant_math::stored_scale(step.grid_of_row(c).scale, step.weight_options.shift);
}

// Narrow codes use the whole int8, and can be negated: with zero points that follow from the
// values, whatever they are (a device does not look at them).
int shift_of(const std::vector<quant_math::Grid>& grids, bool symmetric) {
  int32_t largest = 1;
  for (const quant_math::Grid& g : grids) {
    largest = std::max({largest, g.zero_point - g.qmin, g.qmax - g.zero_point});
    if (!symmetric) largest = std::max(largest, g.qmax - g.qmin);
  }
  int shift = 0;
  while ((largest << (shift + 1)) <= 127) ++shift;
  return shift;
}

// What moves the integers of a row into int8. Only 8-bit codes around a zero point need it.
int32_t offset_of(const quant_math::Grid& g, bool negated, int shift) {
  const int32_t low = negated ? g.zero_point - g.qmax : g.qmin - g.zero_point;
  const int32_t high = low + g.qmax - g.qmin;
  return shift > 0 || (low >= -128 && high <= 127) ? 0 : low + 128;
}

// In training the observer has seen to it.
void check_weights(const Chain& chain, const Tensor& weight) {
  if (chain.weight->observes() || kernels::all_finite(weight)) return;
  throw HALFTONE_ERROR("quantize")
      .at(chain.anchor->path() + ".weight")
      .expected("finite values")
      .found("NaN or an infinity");
}

// Weights, raw or folded, to codes. Rows whose gamma is negative change sign (folded ones have), so
// that the epilogue rises in every channel.
void quantize_step_weights(const Chain& chain, const LayerNumbers& numbers, ChainStep& step) {
  step.weight = weight_to_quantize(chain);
  check_weights(chain, step.weight);
  if (chain.weight->watched()) chain.weight->show(step.weight);
  const int64_t channels = step.out_channels();
  step.weight_options.grids = chain.weight->grids(step.weight.rank()).list;
  step.weight_options.shift = shift_of(step.weight_options.grids, chain.weight->spec().symmetric);
  step.weight_gradient = chain.weight->gradient(step.weight.shape());
  step.learned_of_weight = chain.weight->learned().size();
  if (chain.quantizes_folded()) step.row_factor = fold_factors(*chain.norm);
  step.row_factor.resize(channels, 1.0);
  // A folded row has changed its sign already: a negative factor says so.
  for (int64_t c = 0; c < channels; ++c) {
    const bool negated = numbers.is_negative(c) && !chain.quantizes_folded();
    step.weight_options.negated.push_back(negated);
    step.weight_options.offsets.push_back(
        offset_of(step.grid_of_row(c), negated, step.weight_options.shift));
  }
  step.weight_codes = Tensor::empty(step.weight.context(), step.weight.shape(), DType::kInt8);
  kernels::quantize_weights(chain.weight->before_rounding(step.weight), step.weight_options,
                            step.weight_codes);
  for (int64_t c = 0; c < channels; ++c) {
    const double unit = quant_math::accumulator_unit(step.x.params.scale, stored_scale(step, c),
                                                     step.weight_options.negated[c] != 0);
    step.acc_scale.push_back(unit / step.row_factor[c]);
  }
}

// Behind the convolution: its largest values, that is accumulators, per window.
void pool_accumulators(const Chain& chain, ChainStep& step) {
  if (chain.pool == nullptr) return;
  const Context& context = step.acc.context();
  std::vector<char> falling;
  for (const double unit : step.acc_scale) falling.push_back(unit < 0);
  const Shape shape = pool2d_shape(step.acc.shape(), chain.pool->options());
  Tensor pooled = Tensor::empty(context, shape, DType::kInt32);
  if (grad_enabled()) step.pool_taps = Tensor::empty(context, shape, DType::kUInt8);
  kernels::max_pool2d_accumulators(step.acc, falling, chain.pool->options(), pooled,
                                   grad_enabled() ? &step.pool_taps : nullptr);
  step.acc = std::move(pooled);
}

// Returns a bound of |acc|.
int64_t convolve(const Chain& chain, kernels::AccumulatorStatistics* statistics, ChainStep& step) {
  const Context& context = step.weight.context();
  if (chain.conv != nullptr) {
    const Conv2dOptions& options = chain.conv->options();
    const Shape shape = conv2d_shape(step.x.values.shape(), step.weight.shape(), options);
    step.acc = Tensor::empty(context, shape, DType::kInt32);
    return kernels::integer_conv2d(step.x, step.weight_codes, options, step.acc, statistics,
                                   step.weight_options.offsets);
  }
  step.acc = Tensor::empty(context, {step.x.values.dim(0), step.out_channels()}, DType::kInt32);
  return kernels::integer_linear(step.x, step.weight_codes, step.acc, statistics,
                                 step.weight_options.offsets);
}

// The accumulator, behind the pooling if there is one, and its statistics where they are wanted.
void accumulate(const Chain& chain, bool wants_statistics, ChainStep& step) {
  const bool pools = chain.pool != nullptr;
  const int64_t bound =
      convolve(chain, wants_statistics && !pools ? &step.statistics : nullptr, step);
  step.conv_shape = step.acc.shape();
  pool_accumulators(chain, step);
  if (wants_statistics && pools) step.statistics = kernels::accumulator_statistics(step.acc, bound);
}

quant_math::FoldInput fold_input(const Chain& chain, const LayerNumbers& numbers,
                                 const ChainStep& step, int64_t c) {
  quant_math::FoldInput in;
  in.input_scale = step.x.params.scale;
  in.weight_scale = static_cast<float>(static_cast<double>(stored_scale(step, c)) /
                                       std::fabs(step.row_factor[c]));
  in.bias = value_at(numbers.bias, c, 0);
  if (chain.norm == nullptr) return in;
  in.normalised = true;
  in.gamma = value_at(numbers.gamma, c, 1);
  in.beta = value_at(numbers.beta, c, 0);
  in.eps = static_cast<double>(chain.norm->args().eps);
  if (step.batch_statistics) {
    const double unit = step.acc_scale[c];
    in.mean = unit * step.statistics.mean(c);
    in.variance = unit * unit * step.statistics.variance(c);
    in.bias = 0;
  } else {
    in.mean = value_at(numbers.mean, c, 0);
    in.variance = value_at(numbers.variance, c, 1);
  }
  return in;
}

// Clamping to codes would turn NaN into an ordinary code. The bias cancels under the batch's
// statistics, and counts in the running ones.
void check_finite(const quant_math::Folded& f, double bias, int64_t c) {
  const bool good = std::isfinite(f.ratio) && std::isfinite(f.offset) &&
                    std::isfinite(f.channel.multiplier) && std::isfinite(bias);
  if (good) return;
  throw HALFTONE_ERROR("fold")
      .expected("finite gamma, beta, bias and running statistics")
      .found("gamma / sigma " + std::to_string(f.ratio) + ", offset " + std::to_string(f.offset) +
             ", bias " + std::to_string(bias) + " in channel " + std::to_string(c));
}

void fold_channels(const Chain& chain, const LayerNumbers& numbers, ChainStep& step) {
  step.folded.clear();
  step.channels.clear();
  for (int64_t c = 0; c < step.out_channels(); ++c) {
    quant_math::FoldInput in = fold_input(chain, numbers, step, c);
    if (step.quantized && !step.signs) in.output_scale = step.y.scale;
    step.folded.push_back(quant_math::fold(in));
    check_finite(step.folded.back(), value_at(numbers.bias, c, 0), c);
    step.channels.push_back(step.folded.back().channel);
  }
}

// What the output quantizer stands for, in reals.
Tensor real_output(const ChainStep& step) {
  Tensor y = Tensor::empty(step.acc.context(), step.acc.shape());
  kernels::epilogue_to_float(step.acc, step.channels, step.act_low, step.act_high, y);
  return y;
}

// Ranges from the ends of each channel's accumulator, as the epilogue is monotone; other observers
// see all values.
void observe_output(Chain& chain, const ChainStep& step) {
  auto* range_only = dynamic_cast<RangeQuantize*>(chain.output.get());
  if (range_only == nullptr) return chain.output->observe_values(real_output(step));
  kernels::Range range{INFINITY, -INFINITY};
  for (int64_t c = 0; c < step.out_channels(); ++c) {
    const auto end = [&](int32_t acc) {
      return quant_math::epilogue_float(acc, step.channels[c], step.act_low, step.act_high);
    };
    range.low = std::min(range.low, end(step.statistics.low[c]));
    range.high = std::max(range.high, end(step.statistics.high[c]));
  }
  range_only->observe({range});
}

// The activation's bounds and the quantizer's.
void set_pass(const Chain& chain, ChainStep& step) {
  step.pass = chain.output->pass();
  step.pass.act_low = std::max(step.pass.act_low, step.act_low / step.y.scale);
  step.pass.act_high = std::min(step.pass.act_high, step.act_high / step.y.scale);
}

// The grid of the output's codes, known from here on.
void set_output(const FakeQuantize& output, ChainStep& step) {
  step.quantized = true;
  step.signs = output.is_sign();
  step.y = output.params();
}

// Whose codes leave the chain in evaluation; null where floats do. Signs that are drawn in
// training, or have ApproxSign's gradient, stand behind the chain; evaluation takes the sign of its
// result, which is that of the epilogue.
const FakeQuantize* deployed_output(const Chain& chain) {
  if (chain.output != nullptr) return chain.output.get();
  const auto* behind = dynamic_cast<FakeQuantize*>(chain.tail().output_transform().get());
  return behind != nullptr && behind->is_sign() && behind->emits_codes() ? behind : nullptr;
}

// The batch's statistics into the running ones.
void update_running_statistics(Chain& chain, const LayerNumbers& numbers, const ChainStep& step) {
  BatchNorm& norm = *chain.norm;
  const Context host = norm.context().host();
  const int64_t n = step.out_channels();
  Tensor mean = Tensor::empty(host, {n}), variance = Tensor::empty(host, {n});
  for (int64_t c = 0; c < n; ++c) {
    const double unit = step.acc_scale[c];
    mean.data<float>()[c] =
        static_cast<float>(unit * step.statistics.mean(c) + value_at(numbers.bias, c, 0));
    variance.data<float>()[c] = static_cast<float>(unit * unit * step.statistics.variance(c));
  }
  kernels::batch_norm_update(mean.to(norm.context()), variance.to(norm.context()),
                             step.statistics.count, norm.args().momentum, *norm.running_mean,
                             *norm.running_var);
  ++*norm.num_batches_tracked->data<int64_t>();
}

}  // namespace

ActivationBounds bounds_of(const ActivationLayer* activation) {
  if (activation == nullptr) return {};
  const ActivationOptions& o = activation->options();
  if (o.kind == Activation::kHardtanh) return {o.low, o.high};
  return {0.0f, o.kind == Activation::kReLU6 ? 6.0f : INFINITY};
}

void check_batch(int64_t count) {
  if (count > 1) return;
  throw HALFTONE_ERROR("batch_norm")
      .expected("more than one value per channel in training")
      .found("1");
}

OpRecord record_of(const Chain& chain, const Variable& x, bool quantizes_output) {
  OpRecord record;
  record.op = chain.conv != nullptr ? "quant_conv2d" : "quant_linear";
  const bool norm = chain.norm != nullptr;
  record.inputs = {x, chain.weights(), chain.bias(), norm ? chain.norm->weight : Variable(),
                   norm ? chain.norm->bias : Variable()};
  for (const Variable& v : chain.weight->learned()) record.inputs.push_back(v);
  if (quantizes_output) {
    for (const Variable& v : chain.output->learned()) record.inputs.push_back(v);
  }
  return record;
}

kernels::CodeRange code_range(const ChainStep& step) {
  const float z = static_cast<float>(step.y.zero_point);
  const auto sign = [](float v) { return v >= 0.0f ? 1.0f : -1.0f; };
  if (step.signs) return {sign(step.act_low), sign(step.act_high), step.y.zero_point};
  const quant_math::CodeBounds bounds = quant_math::code_bounds(
      step.y.qmin - z, step.y.qmax - z, step.act_low / step.y.scale, step.act_high / step.y.scale);
  return {bounds.low, bounds.high, step.y.zero_point};
}

// Weights of one bit are stored 64 times as large, so the accumulator is even: with an odd bias the
// sum is never 0, and what was 0 is 1. Clamped to -1 .. 1 it is the sign.
kernels::Channels code_channels(const ChainStep& step) {
  kernels::Channels channels = step.channels;
  if (!step.signs) return channels;
  for (quant_math::Channel& c : channels) {
    c.bias |= 1;
    c.multiplier = 1.0f;
  }
  return channels;
}

ChainStep prepare_step(Chain& chain, const Variable& x) {
  ChainStep step;
  step.x = known(*x.codes());
  const bool trains = chain.norm != nullptr && chain.norm->training();
  const NormStatistics source = statistics_of(chain);
  step.batch_statistics = trains && source == NormStatistics::kBatch;
  const bool moves = trains && source != NormStatistics::kFrozen;
  LayerNumbers numbers(chain);
  quantize_step_weights(chain, numbers, step);
  const bool quantizes = chain.output != nullptr && chain.output->will_quantize();
  const bool observes = quantizes && chain.output->observes();
  accumulate(chain, moves || observes, step);
  if (moves) {
    check_batch(step.statistics.count);
    update_running_statistics(chain, numbers, step);
    if (!step.batch_statistics) numbers.read_statistics(chain);
  }
  const ActivationBounds act = bounds_of(chain.activation.get());
  step.act_low = act.low, step.act_high = act.high;
  fold_channels(chain, numbers, step);
  if (observes) observe_output(chain, step);
  if (quantizes && chain.output->initialised()) {
    if (chain.output->watched()) chain.output->show(real_output(step));
    set_output(*chain.output, step);
    fold_channels(chain, numbers, step);
    step.learned = chain.output->learned_grid(step.acc.shape());
    set_pass(chain, step);
  } else {
    step.pass.act_low = step.act_low;
    step.pass.act_high = step.act_high;
  }
  return step;
}

ChainStep deployed_step(const Chain& chain, const QuantParams& x) {
  ChainStep step;
  step.x.params = x;
  const LayerNumbers numbers(chain);
  quantize_step_weights(chain, numbers, step);
  const ActivationBounds act = bounds_of(chain.activation.get());
  step.act_low = act.low, step.act_high = act.high;
  const FakeQuantize* output = deployed_output(chain);
  if (output != nullptr && output->initialised() && !output->warm_up()) set_output(*output, step);
  fold_channels(chain, numbers, step);
  step.channels = code_channels(step);
  for (int64_t c = 0; c < step.out_channels(); ++c) {
    if (!step.folded[c].constant) continue;
    step.weight_codes.slice(c, c + 1).fill(0.0f);
    step.weight_options.offsets[c] = 0;
  }
  return step;
}

}  // namespace halftone
