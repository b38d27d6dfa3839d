#include "quant/device_chain.h"

#include <algorithm>
#include <cmath>

#include "kernels/batch_norm.h"
#include "kernels/codes_cuda.h"
#include "kernels/conv.h"
#include "kernels/elementwise.h"
#include "kernels/integer_conv.h"
#include "kernels/matmul.h"
#include "quant/chain_step.h"
#include "quant/device_step.h"
#include "quant/fold.h"
#include "quant/range_quantize.h"
#include "quant/weight_batch.h"

namespace halftone {
namespace {

namespace device = kernels::cuda;
using kernels::launch;

constexpr int64_t kExact = int64_t{1} << 24;  // float32 holds all integers up to it

const float* floats(const Tensor& t) {
  return t.defined() ? static_cast<const float*>(t.raw()) : nullptr;
}

const float* floats(const Variable& v) { return v.defined() ? floats(v.value()) : nullptr; }

// The longest sums that a layer's shapes and grids allow, whatever its weights.
struct Reach {
  Reach(const Chain& chain, const Codes& x) {
    const GridTensors w = *chain.weight->grid_tensors();
    const Tensor& weight = chain.weights().value();
    const QuantParams& p = x.params;
    // Of a zero point that the host does not know: as far away as the codes go.
    const int64_t far = x.zero_point.defined()
                            ? p.qmax - p.qmin
                            : std::max(p.zero_point - p.qmin, p.qmax - p.zero_point);
    const int64_t largest =
        w.zero_point.defined() ? w.qmax - w.qmin : std::max({1, -w.qmin, w.qmax});
    while ((largest << (shift + 1)) <= 127) ++shift;
    const int64_t products = weight.dim(0) > 0 ? far * (weight.numel() / weight.dim(0)) : 0;
    sum = products * largest;  // in units of 2^shift, in which it is exact as well
    parts_sum = products * std::max<int64_t>(8, ((largest << shift) + 8) / 16);
  }
  std::optional<DeviceSums> sums() const {
    const bool whole = sum < kExact;
    if ((sum << shift) >= kernels::kAccumulatorLimit || (!whole && parts_sum >= kExact)) return {};
    return DeviceSums{shift, whole};
  }
  int shift = 0;  // as in chain_step.cc, whatever the zero points
  int64_t sum = 0, parts_sum = 0;
};

// A scale that the host knows goes there, and the step is not recorded.
Codes with_scale(Codes x) {
  if (x.scale.defined()) return x;
  const Context& context = x.values.context();
  x.scale = Tensor::from(context.host(), {1}, std::vector<float>{x.params.scale}).to(context);
  return x;
}

// Constants of the weights' rows.
void find_rows(const Chain& chain, int shift, DeviceStep& s) {
  const GridTensors grid = *chain.weight->grid_tensors();
  device::WeightRowsArgs r;
  r.rows = s.channels, r.shift = shift;
  r.input_scale = s.input_scale();
  r.scale = floats(grid.scale), r.per_row = grid.scale.numel() > 1;
  r.gamma = chain.norm != nullptr ? floats(chain.norm->weight) : nullptr;
  r.flips = s.flips.data(), r.units = s.units.data(), r.reals = s.reals.data();
  launch<&device::weight_rows>(s.weight, r);
}

// acc += factor * (x * w), on whole floats; the first one sets it.
void add_products(const Chain& chain, const Tensor& x, const Tensor& w, int32_t factor, bool adds,
                  Tensor& acc) {
  Tensor y = Tensor::empty(acc.context(), acc.shape());
  if (chain.conv != nullptr) {
    kernels::conv2d(x, w, nullptr, chain.conv->options(), y);
  } else {
    kernels::linear(x, w, nullptr, y);
  }
  launch<&device::to_accumulators>(acc,
                                   device::ToAccumulatorsArgs{acc.numel(), factor, adds, floats(y),
                                                              static_cast<int32_t*>(acc.raw())});
}

// Quantizes the weights and multiplies with them: in one part where sums stay exact in float32.
void convolve(Chain& chain, const DeviceSums& sums, DeviceStep& s) {
  const Context& context = s.weight.context();
  const Shape& in = s.x.values.shape();
  const Shape out = chain.conv != nullptr
                        ? conv2d_shape(in, s.weight.shape(), chain.conv->options())
                        : Shape{in[0], s.channels};
  s.conv_shape = out;
  s.acc = Tensor::empty(context, out, DType::kInt32);
  const Tensor x = integers_of(s.x);
  const WeightIntegers w = chain.batch->take(chain.shared_from_this(), sums.shift, !sums.whole);
  s.integers = w.whole;
  find_rows(chain, sums.shift, s);
  if (sums.whole) return add_products(chain, x, w.whole, 1, false, s.acc);
  add_products(chain, x, w.high, 16, false, s.acc);
  add_products(chain, x, w.low, 1, true, s.acc);
}

void pool(const Chain& chain, DeviceStep& s) {
  if (chain.pool == nullptr) return;
  const Context& context = s.acc.context();
  const Pool2dOptions& options = chain.pool->options();
  const Shape shape = pool2d_shape(s.acc.shape(), options);
  Tensor pooled = Tensor::empty(context, shape, DType::kInt32);
  if (grad_enabled()) s.pool_taps = Tensor::empty(context, shape, DType::kUInt8);
  device::WholePoolArgs args;
  args.g = kernels::pool_geometry(s.acc, pooled, options);
  args.dtype = DType::kInt32, args.flips = s.flips.data();
  args.x = s.acc.raw(), args.y = pooled.raw();
  if (grad_enabled()) args.taps = static_cast<uint8_t*>(s.pool_taps.raw());
  launch<&device::max_pool_whole>(s.acc, args);
  s.acc = std::move(pooled);
}

// Everything but what the output's grid decides.
device::FoldChannelsArgs fold_arguments(const Chain& chain, int shift, DeviceStep& s) {
  const GridTensors grid = *chain.weight->grid_tensors();
  device::FoldChannelsArgs a;
  a.channels = s.channels, a.count = s.rows(), a.shift = shift;
  a.input_scale = s.input_scale();
  a.weight_scale = floats(grid.scale), a.per_row = grid.scale.numel() > 1;
  a.units = s.units.data();
  a.bias = floats(chain.bias());
  a.constants = s.constants.data(), a.normal = s.normal.data(), a.centre = s.centre.data();
  if (chain.norm == nullptr) return a;
  a.normalised = true;
  a.gamma = floats(chain.norm->weight), a.beta = floats(chain.norm->bias);
  a.running_mean = floats(*chain.norm->running_mean);
  a.running_variance = floats(*chain.norm->running_var);
  a.eps = chain.norm->args().eps;
  return a;
}

quant_math::OutputRule output_rule(const Chain& chain, const ActivationBounds& bounds) {
  quant_math::OutputRule rule;
  rule.act_low = bounds.low, rule.act_high = bounds.high;
  rule.pass = chain.output->pass_rule();
  if (rule.pass == quant_math::PassRule::kFixed) rule.fixed = chain.output->pass();
  rule.offset = chain.output->grid_tensors()->offset.defined();
  return rule;
}

void update_running_statistics(BatchNorm& norm, const Tensor& mean, const Tensor& variance,
                               int64_t count) {
  kernels::batch_norm_update(mean, variance, count, norm.args().momentum, *norm.running_mean,
                             *norm.running_var);
  ++*norm.num_batches_tracked->data<int64_t>();
}

// The output's grid, tracked first where it is observed, from constants that lead to floats.
void find_output(const Chain& chain, const ActivationBounds& bounds, device::FoldChannelsArgs a,
                 const device::AccumulatorTotal* totals, DeviceStep& s) {
  if (chain.output->observes()) {
    launch<&device::fold_channels>(s.acc, a);
    device::ObserveAccumulatorsArgs o;
    o.channels = s.channels, o.totals = totals, o.constants = s.constants.data();
    o.act_low = bounds.low, o.act_high = bounds.high;
    auto& output = dynamic_cast<RangeQuantize&>(*chain.output);
    o.track = output.tracking();
    launch<&device::observe_accumulators>(s.acc, o);
    output.tracked();
  }
  device::OutputGridArgs g;
  g.grid = chain.output->grid_tensors()->pointers(true);
  g.rule = output_rule(chain, bounds), g.output = s.grid.data();
  launch<&device::output_grid>(s.acc, g);
}

// Constants from the batch's statistics, which move the running ones, or from the running ones.
void fold(Chain& chain, int shift, const ActivationBounds& bounds, DeviceStep& s) {
  const Context& context = s.acc.context();
  const int64_t rows = s.rows();
  kernels::DeviceRoom<device::AccumulatorTotal> totals(context, s.channels);
  if (s.batch_statistics || (s.quantized && chain.output->observes())) {
    if (s.batch_statistics) check_batch(rows);
    launch<&device::accumulator_statistics>(
        s.acc, device::AccumulatorStatisticsArgs{
                   rows, s.channels, static_cast<const int32_t*>(s.acc.raw()), totals.data()});
  }
  device::FoldChannelsArgs a = fold_arguments(chain, shift, s);
  Tensor mean = Tensor::empty(context, {s.channels}),
         variance = Tensor::empty(context, {s.channels});
  if (s.batch_statistics) {
    a.totals = totals.data();
    a.mean = static_cast<float*>(mean.raw()), a.variance = static_cast<float*>(variance.raw());
  }
  if (s.quantized) find_output(chain, bounds, a, totals.data(), s);
  a.output = s.output();
  launch<&device::fold_channels>(s.acc, a);
  if (s.batch_statistics) update_running_statistics(*chain.norm, mean, variance, rows);
}

// What the host looks at now and then.
void check_finite(const Chain& chain, const DeviceStep& s) {
  if (!chain.weight->checks_values()) return;
  bool good = kernels::all_finite(s.weight);
  for (const quant_math::Normalised& n : s.normal.values()) good = good && std::isfinite(n.ratio);
  for (const quant_math::Channel& c : s.constants.values())
    good = good && std::isfinite(c.multiplier);
  if (good) return;
  throw HALFTONE_ERROR("fold")
      .at(chain.anchor->path())
      .expected("finite weights, gamma, beta, bias and scales")
      .found("NaN or an infinity")
      .fix("look at the data, and whether the learning rate is too high");
}

Variable result_of(const Chain& chain, const Variable& x, const ActivationBounds& bounds,
                   Codes codes, const std::shared_ptr<DeviceStep>& s) {
  OpRecord record = record_of(chain, x, s->quantized);
  if (grad_enabled()) record.backward = device_chain_backward(chain, s);
  const auto* acc = static_cast<const int32_t*>(s->acc.raw());
  if (!s->quantized) {
    Tensor y = Tensor::empty(s->acc.context(), s->acc.shape());
    launch<&device::epilogue_to_float>(
        s->acc, device::EpilogueFloatArgs{s->rows(), s->channels, acc, s->constants.data(),
                                          bounds.low, bounds.high, static_cast<float*>(y.raw())});
    return make_result(std::move(record), std::move(y));
  }
  device::EpilogueArgs args;
  args.rows = s->rows(), args.channels = s->channels;
  args.acc = acc, args.constants = s->constants.data();
  args.codes = static_cast<uint8_t*>(codes.values.raw());
  args.grid = s->grid.data();
  launch<&device::epilogue_to_codes>(s->acc, args);
  return make_result(std::move(record), std::move(codes));
}

}  // namespace

std::optional<DeviceSums> sums_on_device(const Chain& chain, const Variable& x) {
  if (x.context().on_cpu() || x.codes() == nullptr || chain.quantizes_folded()) return {};
  if (chain.batch == nullptr || !chain.weight->stays_on_device()) return {};
  if (chain.weight->grid_tensors()->offset.defined()) return {};
  const FakeQuantize* output = chain.output.get();
  const bool quantizes = output != nullptr && output->will_quantize();
  if (quantizes && (!output->stays_on_device() || output->is_sign())) return {};
  return Reach(chain, *x.codes()).sums();
}

Variable run_on_device(Chain& chain, const Variable& x, const DeviceSums& sums) {
  const Tensor& weight = chain.weights().value();
  auto step = std::make_shared<DeviceStep>(x.context(), weight.dim(0));
  DeviceStep& s = *step;
  s.x = with_scale(*x.codes());
  s.weight = weight;
  s.weight_gradient = chain.weight->gradient(weight.shape());
  s.learned_of_weight = chain.weight->learned().size();
  convolve(chain, sums, s);
  pool(chain, s);
  const bool trains = chain.norm != nullptr && chain.norm->training();
  s.batch_statistics = trains && statistics_of(chain) == NormStatistics::kBatch;
  const ActivationBounds bounds = bounds_of(chain.activation.get());
  s.pass.act_low = bounds.low, s.pass.act_high = bounds.high;
  s.quantized = chain.output != nullptr && chain.output->will_quantize();
  if (s.quantized) s.learned = chain.output->learned_grid(s.acc.shape());
  fold(chain, sums.shift, bounds, s);
  check_finite(chain, s);
  Codes codes;
  if (s.quantized) codes = chain.output->codes_on_device(s.acc.shape());
  if (chain.gradient != nullptr) s.gradient_noise = chain.gradient->draw();
  return result_of(chain, x, bounds, std::move(codes), step);
}

}  // namespace halftone
