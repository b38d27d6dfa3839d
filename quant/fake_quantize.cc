#include "quant/fake_quantize.h"

#include <cmath>

#include "quant/observer.h"

namespace halftone {
namespace {

Tensor one_flag(const Context& context, bool on) {
  return Tensor::from(context, Shape{1}, std::vector<uint8_t>{static_cast<uint8_t>(on)});
}

Tensor filled(const Context& context, int64_t n, float value) {
  return Tensor::full(context, {n}, value);
}

// What the buffer "spec" holds.
std::vector<int32_t> numbers_of(const QuantSpec& s) {
  return {s.bits, s.is_signed, s.per_channel, s.symmetric, s.per_channel ? s.axis : 0, s.nni};
}

QuantSpec spec_from(const std::vector<int32_t>& n) {
  QuantSpec s;
  s.bits = n[0];
  s.is_signed = n[1] != 0;
  s.per_channel = n[2] != 0;
  s.symmetric = n[3] != 0;
  s.axis = n[4];
  s.nni = n[5] != 0;
  return s;
}

}  // namespace

FakeQuantize::FakeQuantize(const Context& context, const FakeQuantizeArgs& args)
    : Module(context), args_(args) {
  const int64_t n = args.spec.per_channel ? args.channels : 1;
  scale_ = &register_buffer("scale", filled(context, n, 1.0f));
  zero_point_ = &register_buffer("zero_point", Tensor::zeros(context, {n}, DType::kInt32));
  min_ = &register_buffer("min_val", filled(context, n, INFINITY));
  max_ = &register_buffer("max_val", filled(context, n, -INFINITY));
  fake_quant_enabled_ = &register_buffer("fake_quant_enabled", one_flag(context, true));
  observer_enabled_ = &register_buffer("observer_enabled", one_flag(context, true));
  initialised_ = &register_buffer("initialised", one_flag(context, false));
  register_buffer("spec", Tensor::from(context, Shape{6}, numbers_of(args.spec)));
  steps_ = &register_buffer("steps", Tensor::from(context, Shape{1}, std::vector<int64_t>{1}));
}

std::string FakeQuantize::describe() const { return name_of(type()) + ", " + spec().str(); }

void FakeQuantize::check_buffer(const std::string& name, const std::string& full_name,
                                const Tensor& found) const {
  if (name != "spec") return;
  const std::vector<int32_t> numbers = found.to(DType::kInt32).to_vector<int32_t>();
  if (numbers == numbers_of(spec())) return;
  throw HALFTONE_ERROR("load_state_dict")
      .at(full_name)
      .expected(spec().str())
      .found(spec_from(numbers).str())
      .fix("use the config_list of the training run");
}

bool FakeQuantize::observes() const { return training() && flag(*observer_enabled_); }

bool FakeQuantize::will_quantize() const {
  return flag(*fake_quant_enabled_) && !warm_up() && (initialised() || observes());
}

Variable FakeQuantize::forward(const std::vector<Variable>& inputs) {
  const Variable& x = inputs.at(0);
  if (x.codes() != nullptr && args_.emits_codes && initialised() && x.codes()->params == params())
    return x;
  if (observes()) observe_values(x.value());
  if (!will_quantize() || !initialised()) return x;
  return args_.emits_codes ? to_codes(x) : to_float(x);
}

void FakeQuantize::observe_values(const Tensor& x) {
  if (x.numel() == 0) {
    throw HALFTONE_ERROR("fake_quantize")
        .expected("at least one value to observe")
        .found("an empty batch");
  }
  observe(kernels::observe_ranges(x, spec().per_channel ? memory_axis(spec().axis, x.rank()) : -1));
}

// NaN and infinity have no code: they are refused here, before clamping would hide them.
void FakeQuantize::check_finite(const std::vector<kernels::Range>& seen) const {
  for (size_t c = 0; c < seen.size(); ++c) {
    if (std::isfinite(seen[c].low) && std::isfinite(seen[c].high)) continue;
    throw HALFTONE_ERROR("fake_quantize")
        .at(path())
        .expected("finite values to quantize (" + name_of(type()) + ")")
        .found((std::isnan(seen[c].low) ? "NaN" : "an infinity") +
               (seen.size() > 1 ? " in channel " + std::to_string(c) : std::string()));
  }
}

void FakeQuantize::observe(const std::vector<kernels::Range>& seen) {
  check_finite(seen);
  std::vector<kernels::Range> tracked = ranges();
  const ObserverRule rule{spec().observer, spec().ema_decay, args_.type == QuantType::kWeight};
  track_ranges(rule, initialised(), seen, tracked);
  set_ranges(tracked);
}

std::vector<kernels::Range> FakeQuantize::ranges() const {
  std::vector<kernels::Range> out(min_->numel());
  for (size_t c = 0; c < out.size(); ++c) out[c] = {min_->data<float>()[c], max_->data<float>()[c]};
  return out;
}

void FakeQuantize::set_ranges(const std::vector<kernels::Range>& ranges) {
  const int64_t n = static_cast<int64_t>(ranges.size());
  if (scale_->numel() != n) {
    *scale_ = filled(context(), n, 1.0f);
    *min_ = filled(context(), n, 0.0f);
    *max_ = filled(context(), n, 0.0f);
    *zero_point_ = Tensor::zeros(context(), {n}, DType::kInt32);
  }
  bool any = false;
  for (int64_t c = 0; c < n; ++c) {
    const quant_math::Grid g =
        quant_math::choose_grid(ranges[c].low, ranges[c].high, spec().rule());
    min_->data<float>()[c] = ranges[c].low;
    max_->data<float>()[c] = ranges[c].high;
    scale_->data<float>()[c] = g.scale;
    zero_point_->data<int32_t>()[c] = g.zero_point;
    any |= ranges[c].low <= ranges[c].high;
  }
  *initialised_->data<uint8_t>() = any;
}

kernels::Grids FakeQuantize::grids(int rank) const {
  kernels::Grids out;
  out.axis = spec().per_channel ? memory_axis(spec().axis, rank) : -1;
  out.rounding = spec().rounding();
  const quant_math::Grid empty = quant_math::empty_grid(spec().rule());
  for (int64_t c = 0; c < scale_->numel(); ++c) {
    out.list.push_back(
        {scale_->data<float>()[c], zero_point_->data<int32_t>()[c], empty.qmin, empty.qmax});
  }
  return out;
}

QuantParams FakeQuantize::params() const {
  const quant_math::Grid g = quant_math::empty_grid(spec().rule());
  const int32_t up = spec().is_signed ? 128 : 0;
  return {*scale_->data<float>(), *zero_point_->data<int32_t>() + up, g.qmin + up, g.qmax + up};
}

void FakeQuantize::enable(bool fake_quant, bool observer) {
  *fake_quant_enabled_->data<uint8_t>() = fake_quant;
  *observer_enabled_->data<uint8_t>() = observer;
}

Variable FakeQuantize::to_codes(const Variable& x) const {
  const QuantParams p = params();
  const quant_math::Grid grid{p.scale, p.zero_point, p.qmin, p.qmax};
  const Tensor value = x.value();
  Tensor codes = Tensor::empty(value.context(), value.shape(), DType::kUInt8);
  kernels::quantize_to_codes(value, grid, spec().rounding(), codes);
  kernels::Grids grids;
  grids.list = {grid};
  auto backward = [value, grids](const Tensor& dy, GradSink& sink) {
    kernels::fake_quantize_backward(dy, value, grids, sink.out(0));
  };
  return make_result({"quantize", {x}, std::move(backward)}, Codes{std::move(codes), p});
}

Variable FakeQuantize::to_float(const Variable& x) const {
  const Tensor value = x.value();
  const kernels::Grids g = grids(value.rank());
  Tensor y = Tensor::empty(value.context(), value.shape());
  kernels::fake_quantize(value, g, y);
  auto backward = [value, g](const Tensor& dy, GradSink& sink) {
    kernels::fake_quantize_backward(dy, value, g, sink.out(0));
  };
  return make_result({"fake_quantize", {x}, std::move(backward)}, std::move(y));
}

}  // namespace halftone
