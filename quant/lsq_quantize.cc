#include "quant/lsq_quantize.h"

#include <algorithm>
#include <cmath>

#include "kernels/chain_cuda.h"
#include "kernels/device_call.h"
#include "kernels/lsq.h"
#include "kernels/quantize_cuda.h"
#include "nn/input_check.h"
#include "quant/affine_start.h"
#include "quant/host_values.h"
#include "quant/scale_group.h"

namespace halftone {
namespace {

void write(const std::vector<double>& sums, double factor, Tensor& out) {
  std::vector<double> gradient;
  for (const double sum : sums) gradient.push_back(factor * sum);
  assign(gradient, out);
}

// In NNI's arithmetic: the mean and the quotient are floats, so that sums of codes which meet an
// edge of the new codes lie on the same side of it as there.
float nni_first_scale(const kernels::Moments& m, int32_t qmax) {
  const float mean = static_cast<float>(m.sum_magnitudes) / static_cast<float>(m.count);
  const float root = static_cast<float>(std::sqrt(static_cast<double>(qmax)));
  return std::max(2.0f * mean / root, quant_math::kScaleFloor);
}

quant_math::LsqEdge edge_of(const QuantSpec& spec) {
  return spec.nni ? quant_math::LsqEdge::kInclusive : quant_math::LsqEdge::kPaper;
}

std::vector<float> values_of(const Variable& v) {
  return v.defined() ? v.value().to_vector<float>() : std::vector<float>();
}

}  // namespace

LsqQuantize::LsqQuantize(const Context& context, const FakeQuantizeArgs& args, bool from_deviation)
    : FakeQuantize(context, args),
      from_deviation_(from_deviation && args.type == QuantType::kWeight),
      sign_known_(!args.spec.auto_dtype) {
  const int64_t n = args.spec.per_channel ? args.channels : 1;
  register_parameter("scale", scale, Tensor::full(context, {n}, 1.0f));
  if (!args.spec.symmetric) register_parameter("offset", offset, Tensor::zeros(context, {n}));
}

void LsqQuantize::decide_sign(bool is_signed) {
  set_signed(is_signed);
  sign_known_ = true;
}

void LsqQuantize::join(std::shared_ptr<LsqGroup> group, const Variable& common, bool follows) {
  group_ = std::move(group);
  scale = common;  // registered here and there: one parameter under two names
  follows_ = follows;
  if (follows) wanted_ = 0.0f;
}

void LsqQuantize::want(float first_scale) {
  wanted_ = first_scale;
  group_->start();
}

bool LsqQuantize::observes() const {
  if (follows_) return false;
  return FakeQuantize::observes() && (!initialised() || last_of_warm_up());
}

void LsqQuantize::observe_values(const Tensor& x) {
  check_not_empty(x.shape());
  const int axis = spec().per_channel ? memory_axis(spec().axis, x.rank()) : -1;
  const std::vector<kernels::Range> seen = kernels::observe_ranges(x, axis);
  check_finite(seen);
  if (group_ != nullptr) {
    const std::vector<float> scales = first_scales(kernels::moments(x, axis));
    return want(scales.empty() ? 0.0f : scales[0]);
  }
  if (!sign_known_) set_signed(seen[0].low < 0);
  if (learns_offset()) {
    const AffineStart start = affine_start(at_home(x), empty_grid());
    if (start.scale == 0) return;
    scale.mutable_value().fill(start.scale);
    offset.mutable_value().fill(start.offset);
  } else {
    const std::vector<float> scales = first_scales(kernels::moments(x, axis));
    if (scales.empty()) return;
    assign(scales, scale.mutable_value());
  }
  set_initialised(true);
}

// LSQ, section 2.1: 2 mean |v| / sqrt(qmax). LSQ+, section 3.2, for weights: the larger end of mean
// +- 3 deviations takes the last code. Channels of zeros take the largest scale of the others;
// empty where all are zero, which says nothing.
std::vector<float> LsqQuantize::first_scales(const std::vector<kernels::Moments>& seen) const {
  const quant_math::Grid g = empty_grid();
  std::vector<float> scales;
  float largest = 0;
  for (const kernels::Moments& m : seen) {
    const double reach = std::fabs(m.mean()) + 3 * m.deviation();
    const float s = m.sum_magnitudes == 0 ? 0.0f
                    : from_deviation_
                        ? std::max(static_cast<float>(reach / -g.qmin), quant_math::kScaleFloor)
                    : spec().nni ? nni_first_scale(m, g.qmax)
                                 : quant_math::lsq_initial_scale(m.mean_magnitude(), g.qmax);
    scales.push_back(s);
    largest = std::max(largest, s);
  }
  if (largest == 0) return {};
  for (float& s : scales) s = s == 0 ? largest : s;
  return scales;
}

// Of the unrounded value, edges outside.
quant_math::Pass LsqQuantize::pass() const {
  const quant_math::Pass rounded = FakeQuantize::pass();
  quant_math::Pass pass;
  pass.act_low = rounded.code_low;
  pass.act_high = rounded.code_high;
  return pass;
}

quant_math::Grid LsqQuantize::empty_grid() const {
  const QuantSpec s = spec();
  quant_math::Grid g;
  const int32_t half = 1 << (s.bits - 1);
  g.qmin = s.is_signed ? -half : 0;
  g.qmax = s.is_signed ? half - 1 : 2 * half - 1;
  if (type() == QuantType::kWeight && s.bits == 8 && s.is_signed && !s.nni) g.qmin = -g.qmax;
  return g;
}

kernels::Grids LsqQuantize::grids(int rank) const {
  kernels::Grids out;
  out.axis = spec().per_channel ? memory_axis(spec().axis, rank) : -1;
  quant_math::Grid g = empty_grid();
  const std::vector<float> scales = values_of(scale), offsets = values_of(offset);
  for (size_t c = 0; c < scales.size(); ++c) {
    g.scale = scales[c];
    if (learns_offset()) g = quant_math::lsq_plus_grid(g.scale, offsets[c], g.qmin, g.qmax);
    out.list.push_back(g);
  }
  return out;
}

std::vector<kernels::Range> LsqQuantize::ranges() const {
  std::vector<kernels::Range> out;
  for (const quant_math::Grid& g : grids(4).list) {
    out.push_back(initialised() ? kernels::Range{quant_math::dequantize(g.qmin, g),
                                                 quant_math::dequantize(g.qmax, g)}
                                : kernels::Range{INFINITY, -INFINITY});
  }
  return out;
}

void LsqQuantize::check_count(size_t found, const std::string& what) const {
  if (static_cast<int64_t>(found) == scale.value().numel()) return;
  throw HALFTONE_ERROR("fake_quantize")
      .at(path())
      .expected(std::to_string(scale.value().numel()) + " " + what)
      .found(std::to_string(found));
}

void LsqQuantize::set_ranges(const std::vector<kernels::Range>& ranges) {
  check_count(ranges.size(), "ranges");
  if (sign_known_) {
    for (const kernels::Range& range : ranges) check_reached(range);
  }
  const bool zeros = std::all_of(ranges.begin(), ranges.end(),
                                 [](const kernels::Range& r) { return r.low == 0 && r.high == 0; });
  if (group_ != nullptr && !follows_) want(zeros ? 0.0f : scale_for(ranges[0]));
  if (zeros || group_ != nullptr) return;
  if (!sign_known_) set_signed(ranges[0].low < 0);
  std::vector<float> scales, offsets;
  for (const kernels::Range& range : ranges) {
    scales.push_back(scale_for(range));
    offsets.push_back(offset_for(range, scales.back()));
  }
  assign(scales, scale.mutable_value());
  if (learns_offset()) assign(offsets, offset.mutable_value());
  set_initialised(true);
}

// Unsigned codes without an offset hold nothing of it.
void LsqQuantize::check_reached(const kernels::Range& range) const {
  const bool nothing = range.low < 0 && range.high <= 0;
  if (!nothing || learns_offset() || empty_grid().qmin < 0) return;
  throw HALFTONE_ERROR("fake_quantize")
      .at(path())
      .expected("a range that reaches above 0: the codes are unsigned")
      .found(short_number(range.low) + " .. " + short_number(range.high))
      .fix("quant_dtype int in config_list, or another range");
}

// Widened to hold zero, whose ends the codes then hold.
float LsqQuantize::scale_for(const kernels::Range& range) const {
  const quant_math::Grid g = empty_grid();
  const float low = std::min(range.low, 0.0f), high = std::max(range.high, 0.0f);
  const float qmin = static_cast<float>(g.qmin), qmax = static_cast<float>(g.qmax);
  float s = std::max(high / qmax, qmin < 0 ? low / qmin : 0.0f);
  if (learns_offset()) s = (high - low) / (qmax - qmin);
  return std::max(s, quant_math::kScaleFloor);
}

float LsqQuantize::offset_for(const kernels::Range& range, float s) const {
  const quant_math::Grid g = empty_grid();
  const float zero = std::min(range.low, 0.0f) - s * static_cast<float>(g.qmin);
  return quant_math::clamp_lsq_plus_offset(zero, s, g.qmin, g.qmax);
}

void LsqQuantize::set_grids(const std::vector<quant_math::Grid>& list) {
  check_count(list.size(), "scales");
  std::vector<float> scales;
  for (const quant_math::Grid& g : list) scales.push_back(g.scale);
  assign(scales, scale.mutable_value());
  set_initialised(true);
}

std::vector<Variable> LsqQuantize::learned() const {
  return learns_offset() ? std::vector<Variable>{scale, offset} : std::vector<Variable>{scale};
}

// g of LSQ, section 2.2.
double LsqQuantize::factor(const Shape& x) const {
  double count = static_cast<double>(x.numel()) / static_cast<double>(scale.value().numel());
  const bool one_sample = type() != QuantType::kWeight && !spec().nni && x.rank() > 0;
  if (one_sample) count /= static_cast<double>(x[0]);
  return quant_math::lsq_gradient_scale(count, empty_grid().qmax);
}

FakeQuantize::GradientFn LsqQuantize::gradient(const Shape& shape) const {
  if (stays_on_device()) return gradient_on_device(shape);
  return [g = grids(shape.rank()), edge = edge_of(spec()), factor = factor(shape),
          plus = learns_offset()](const Tensor& dq, const Tensor& x, GradSink& sink, size_t at,
                                  size_t first) {
    Tensor* dx = sink.needs(at) ? &sink.out(at) : nullptr;
    std::vector<double> ds, doffset;
    plus ? kernels::lsq_plus_backward(dq, x, g, edge, dx, ds, doffset)
         : kernels::lsq_backward(dq, x, g, edge, dx, ds);
    if (sink.needs(first)) write(ds, factor, sink.out(first));
    if (plus && sink.needs(first + 1)) write(doffset, factor, sink.out(first + 1));
  };
}

// The same as one kernel, which reads the grid and writes the gradients where they belong.
FakeQuantize::GradientFn LsqQuantize::gradient_on_device(const Shape& shape) const {
  kernels::cuda::LsqBackwardArgs args;
  args.layout = kernels::channel_layout(
      shape, spec().per_channel ? memory_axis(spec().axis, shape.rank()) : -1);
  args.edge = edge_of(spec());
  args.gradient_scale = factor(shape);
  return [args, tensors = *grid_tensors()](const Tensor& dq, const Tensor& x, GradSink& sink,
                                           size_t at, size_t first) {
    kernels::cuda::LsqBackwardArgs a = args;
    const bool plus = tensors.offset.defined();
    // What nobody wants goes nowhere.
    Tensor scratch = Tensor::empty(x.context(), tensors.scale.shape());
    const auto room = [&](size_t input) {
      return static_cast<float*>((sink.needs(input) ? sink.out(input) : scratch).raw());
    };
    Tensor dx = sink.needs(at) ? sink.out(at) : Tensor::empty(x.context(), x.shape());
    a.grids = tensors.pointers();
    a.dy = dq.raw(), a.x = x.raw(), a.dx = dx.raw();
    a.dscale = room(first);
    a.doffset = plus ? room(first + 1) : nullptr;
    kernels::launch<&kernels::cuda::lsq_backward>(x, a);
  };
}

std::optional<GridTensors> LsqQuantize::grid_tensors() const {
  const quant_math::Grid g = empty_grid();
  return GridTensors{scale.value(), {},     learns_offset() ? offset.value() : Tensor(),
                     g.qmin,        g.qmax, spec().is_signed ? 128 : 0};
}

std::optional<LearnedGrid> LsqQuantize::learned_grid(const Shape& x) const {
  const bool plus = learns_offset();
  if (stays_on_device()) return LearnedGrid{{}, factor(x), plus};
  const quant_math::Grid g = grids(4).list.at(0);
  return LearnedGrid{plus ? quant_math::lsq_plus_rule(g) : quant_math::lsq_rule(g), factor(x),
                     plus};
}

void LsqQuantize::check_learned() const {
  const auto finite = [](float v) { return std::isfinite(v); };
  const std::vector<float> scales = values_of(scale), offsets = values_of(offset);
  if (std::all_of(scales.begin(), scales.end(), finite) &&
      std::all_of(offsets.begin(), offsets.end(), finite)) {
    return;
  }
  throw HALFTONE_ERROR("lsq")
      .at(path())
      .expected("a finite learned scale")
      .found("NaN or an infinity after the optimizer's step")
      .fix("lower the learning rate, or the scales' factor");
}

void LsqQuantize::clamp_on_device() {
  const GridTensors g = *grid_tensors();
  kernels::cuda::ClampLearnedArgs args;
  args.count = g.scale.numel();
  args.scale = static_cast<float*>(scale.mutable_value().raw());
  if (learns_offset()) args.offset = static_cast<float*>(offset.mutable_value().raw());
  args.qmin = g.qmin, args.qmax = g.qmax;
  kernels::launch<&kernels::cuda::clamp_learned>(g.scale, args);
}

void LsqQuantize::after_step() {
  if (!initialised()) return;
  if (checks_values()) check_learned();
  if (!context().on_cpu()) return clamp_on_device();
  const quant_math::Grid g = empty_grid();
  std::vector<float> scales = values_of(scale), offsets = values_of(offset);
  for (size_t c = 0; c < scales.size(); ++c) {
    float& s = scales[c];
    s = std::max(s, quant_math::kScaleFloor);
    if (learns_offset())
      offsets[c] = quant_math::clamp_lsq_plus_offset(offsets[c], s, g.qmin, g.qmax);
  }
  assign(scales, scale.mutable_value());
  if (learns_offset()) assign(offsets, offset.mutable_value());
}

}  // namespace halftone
