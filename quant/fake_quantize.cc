#include "quant/fake_quantize.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/chain_cuda.h"
#include "kernels/device_call.h"
#include "kernels/elementwise.h"
#include "kernels/quantize_cuda.h"
#include "nn/input_check.h"

namespace halftone {
namespace {

Tensor one_flag(const Context& context, bool on) {
  return Tensor::from(context, Shape{1}, std::vector<uint8_t>{static_cast<uint8_t>(on)});
}

// In words: what the buffer "spec" holds.
std::string spec_in_words(const std::vector<int32_t>& n) {
  QuantSpec s;
  s.bits = n[0];
  s.is_signed = n[1] != 0;
  s.per_channel = n[2] != 0;
  s.symmetric = n[3] != 0;
  s.axis = n[4];
  s.nni = n[5] % 2 != 0;
  const std::vector<std::string>& folds = fold_mode_names();
  const size_t fold = static_cast<size_t>(n[5]) / 2;
  return s.str() + (fold == 0 || fold >= folds.size() ? "" : ", fold " + folds[fold]);
}

// How many values in a row share a grid.
int64_t grid_stride(const kernels::Grids& g, const Shape& shape) {
  if (g.axis < 0) return std::max<int64_t>(shape.numel(), 1);
  int64_t stride = 1;
  for (int a = g.axis + 1; a < shape.rank(); ++a) stride *= shape[a];
  return stride;
}

}  // namespace

FakeQuantize::FakeQuantize(const Context& context, const FakeQuantizeArgs& args)
    : Module(context), args_(args), spec_(nullptr) {
  // The host reads and writes them, wherever the values that are quantized lie.
  fake_quant_enabled_ = &register_buffer("fake_quant_enabled", one_flag(context.host(), true));
  observer_enabled_ = &register_buffer("observer_enabled", one_flag(context.host(), true));
  initialised_ = &register_buffer("initialised", one_flag(context.host(), false));
  spec_ = &register_buffer("spec", Tensor::from(context.host(), Shape{6}, spec_numbers()));
  steps_ =
      &register_buffer("steps", Tensor::from(context.host(), Shape{1}, std::vector<int64_t>{1}));
}

std::vector<int32_t> FakeQuantize::spec_numbers() const {
  const QuantSpec& s = args_.spec;
  const bool is_signed = spec_ == nullptr ? s.is_signed : spec().is_signed;
  const int32_t fold = static_cast<int32_t>(fold_.value_or(FoldMode::kScale));
  return {s.bits,          is_signed, s.per_channel, s.symmetric, s.per_channel ? s.axis : 0,
          s.nni + 2 * fold};
}

void FakeQuantize::set_fold(FoldMode fold) {
  fold_ = fold;
  spec_->copy_from(Tensor::from(context().host(), Shape{6}, spec_numbers()));
}

QuantSpec FakeQuantize::spec() const {
  QuantSpec s = args_.spec;
  s.is_signed = spec_->data<int32_t>()[1] != 0;
  return s;
}

std::string FakeQuantize::describe() const {
  return name_of(type()) + ", " + summary_of_spec() + (fold_ ? ", fold " + name_of(*fold_) : "");
}

void FakeQuantize::check_buffer(const std::string& name, const std::string& full_name,
                                const Tensor& found) const {
  if (name != "spec") return;
  std::vector<int32_t> numbers = found.to(DType::kInt32).to_vector<int32_t>();
  if (args_.spec.auto_dtype) numbers[1] = spec().is_signed;
  if (numbers == spec_numbers()) return;
  throw HALFTONE_ERROR("load_state_dict")
      .at(full_name)
      .expected(spec_in_words(spec_numbers()))
      .found(spec_in_words(numbers))
      .fix("use the config_list of the training run");
}

std::string FakeQuantize::integer_obstacle() const {
  return type() == QuantType::kWeight ? weight_obstacle(spec()) : activation_obstacle(spec());
}

quant_math::Pass FakeQuantize::pass() const {
  const QuantParams p = params();
  const float z = static_cast<float>(p.zero_point);
  quant_math::Pass pass;
  pass.code_low = static_cast<float>(p.qmin) - z;
  pass.code_high = static_cast<float>(p.qmax) - z;
  return pass;
}

bool FakeQuantize::observes() const { return training() && observer_enabled(); }

bool FakeQuantize::will_quantize() const {
  return fake_quant_enabled() && !warm_up() && (initialised() || observes());
}

Variable FakeQuantize::forward(const std::vector<Variable>& inputs) {
  const Variable& x = inputs.at(0);
  if (x.codes() != nullptr && emits_codes() && initialised() && on_this_grid(*x.codes())) return x;
  if (observes() || will_quantize()) check_not_empty(x.shape());
  if (observes()) observe_values(x.value());
  if (!will_quantize() || !initialised()) return x;
  if (watched()) show(x.value());
  return quantize(x);
}

Variable FakeQuantize::quantize(const Variable& x) {
  check_unobserved(x);
  if (emits_codes()) return result(x, before_rounding(x.value()));
  Tensor y = Tensor::empty(x.context(), x.shape());
  write_values(x.value(), y);
  return result(x, y);
}

Tensor FakeQuantize::codes(const Tensor& raw) const {
  const Tensor x = before_rounding(raw).to(raw.context().host());
  const kernels::Grids g = grids(x.rank());
  const int64_t inner = grid_stride(g, x.shape());
  Tensor out = Tensor::empty(x.context(), x.shape(), DType::kInt32);
  for (int64_t i = 0; i < x.numel(); ++i) {
    const quant_math::Grid& grid = g.list[i / inner % static_cast<int64_t>(g.list.size())];
    const float v = x.data<float>()[i];
    out.data<int32_t>()[i] = g.rounding == quant_math::Rounding::kNni
                                 ? quant_math::quantize_nni(v, grid)
                                 : quant_math::quantize(v, grid);
  }
  return out;
}

int64_t FakeQuantize::count_clipped(const Tensor& raw) const {
  const Tensor x = raw.to(raw.context().host());
  const kernels::Grids g = grids(x.rank());
  const bool nni = g.rounding == quant_math::Rounding::kNni;
  const int64_t inner = grid_stride(g, x.shape());
  int64_t clipped = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const quant_math::Grid& grid = g.list[i / inner % static_cast<int64_t>(g.list.size())];
    const float v = x.data<float>()[i];
    clipped += !(nni ? quant_math::ste_mask_nni(v, grid) : quant_math::ste_mask(v, grid));
  }
  return clipped;
}

void FakeQuantize::check_unobserved(const Variable& x) const {
  if (!observes() && x.codes() == nullptr && checks_values()) check_finite(x.value());
}

void FakeQuantize::check_finite(const Tensor& x) const {
  if (!kernels::all_finite(x)) check_finite(kernels::observe_ranges(x));
}

void FakeQuantize::check_not_empty(const Shape& shape) const {
  if (shape.numel() > 0) return;
  throw HALFTONE_ERROR("fake_quantize").expected("at least one value").found("an empty batch");
}

// NaN and infinity have no code: they are refused here, before clamping would hide them. So are
// activations that a scale could hold, and no variance behind them.
void FakeQuantize::check_finite(const std::vector<kernels::Range>& seen) const {
  for (size_t c = 0; c < seen.size(); ++c) {
    const float low = seen[c].low, high = seen[c].high;
    const std::string where = seen.size() > 1 ? " in channel " + std::to_string(c) : "";
    if (!std::isfinite(low) || !std::isfinite(high)) {
      throw HALFTONE_ERROR("fake_quantize")
          .at(path())
          .expected("finite values to quantize (" + name_of(type()) + ")")
          .found((std::isnan(low) ? "NaN" : "an infinity") + where)
          .fix("look at the data, and whether the learning rate is too high");
    }
    if (type() == QuantType::kWeight || std::max(-low, high) <= kLargestActivation) continue;
    throw HALFTONE_ERROR("fake_quantize")
        .at(path())
        .expected("values to quantize (" + name_of(type()) +
                  ") up to 2^60: batch norm squares them, in float32")
        .found(short_number(-low > high ? low : high) + where)
        .fix("normalise the data, and look whether the learning rate is too high");
  }
}

QuantParams FakeQuantize::params() const {
  const quant_math::Grid g = grids(4).list.at(0);
  const int32_t up = spec().is_signed ? 128 : 0;
  return {g.scale, g.zero_point + up, g.qmin + up, g.qmax + up};
}

bool FakeQuantize::stays_on_device() const {
  return !context().on_cpu() && training() && initialised() && !watched() &&
         (!observes() || observes_on_device()) && grid_tensors().has_value();
}

// What codes on the grid are marked with. The zero point as it is stored has a place of its own,
// so that the same codes are known by it.
Codes FakeQuantize::device_grid(Tensor values) const {
  const GridTensors g = *grid_tensors();
  Codes codes{std::move(values), {NAN, g.up, g.qmin + g.up, g.qmax + g.up}, g.scale, {}};
  if (!g.zero_point.defined() && !g.offset.defined()) return codes;
  if (!stored_zero_.defined()) stored_zero_ = Tensor::zeros(context(), {1}, DType::kInt32);
  codes.zero_point = stored_zero_;
  return codes;
}

// Codes of an earlier call in the same step keep their zero point.
Codes FakeQuantize::codes_on_device(const Shape& shape) const {
  const bool again = std::exchange(stored_at_, steps()) == steps();
  if (again && !stored_zero_.unique()) stored_zero_ = Tensor();
  Codes codes = device_grid(Tensor::empty(context(), shape, DType::kUInt8));
  if (!codes.zero_point.defined()) return codes;
  kernels::cuda::OutputGridArgs args;
  args.grid = grid_tensors()->pointers(true);
  args.zero_point = static_cast<int32_t*>(codes.zero_point.raw());
  kernels::launch<&kernels::cuda::output_grid>(codes.values, args);
  return codes;
}

bool FakeQuantize::on_this_grid(const Codes& codes) const {
  if (codes.scale.defined() && stays_on_device())
    return same_grid(codes, device_grid(codes.values));
  return known(codes).params == params();
}

void FakeQuantize::enable(bool fake_quant, bool observer) {
  *fake_quant_enabled_->data<uint8_t>() = fake_quant;
  *observer_enabled_->data<uint8_t>() = observer;
}

void FakeQuantize::write_values(const Tensor& x, Tensor& y) const {
  if (!stays_on_device()) return kernels::fake_quantize(x, grids(x.rank()), y);
  const int axis = spec().per_channel ? memory_axis(spec().axis, x.rank()) : -1;
  kernels::launch<&kernels::cuda::fake_quantize>(
      x, kernels::cuda::FakeQuantizeArgs{kernels::channel_layout(x.shape(), axis), x.dtype(),
                                         grid_tensors()->pointers(), spec().rounding(), x.raw(),
                                         y.raw()});
}

FakeQuantize::GradientFn FakeQuantize::gradient(const Shape& x) const {
  if (stays_on_device()) return gradient_on_device(x);
  return
      [g = grids(x.rank())](const Tensor& dq, const Tensor& x, GradSink& sink, size_t at, size_t) {
        if (sink.needs(at)) kernels::fake_quantize_backward(dq, x, g, sink.out(at));
      };
}

FakeQuantize::GradientFn FakeQuantize::gradient_on_device(const Shape& x) const {
  const int axis = spec().per_channel ? memory_axis(spec().axis, x.rank()) : -1;
  return [g = *grid_tensors(), layout = kernels::channel_layout(x, axis),
          rounding = spec().rounding()](const Tensor& dq, const Tensor& x, GradSink& sink,
                                        size_t at, size_t) {
    if (!sink.needs(at)) return;
    kernels::launch<&kernels::cuda::fake_quantize_backward>(
        x, kernels::cuda::FakeQuantizeBackwardArgs{layout, x.dtype(), g.pointers(), rounding,
                                                   dq.raw(), x.raw(), sink.out(at).raw()});
  };
}

OpRecord FakeQuantize::record(const char* op, const Variable& x) const {
  OpRecord r{op, {x}, {}};
  for (const Variable& v : learned()) r.inputs.push_back(v);
  r.backward = [value = x.value(), run = gradient(x.shape())](const Tensor& dy, GradSink& sink) {
    run(dy, value, sink, 0, 1);
  };
  return r;
}

Variable FakeQuantize::result(const Variable& x, const Tensor& values) const {
  if (!emits_codes()) return make_result(record("fake_quantize", x), values);
  if (stays_on_device()) {
    Codes codes = codes_on_device(x.shape());
    kernels::cuda::QuantizeArgs args;
    args.layout = {1, 1, x.shape().numel()};
    args.grids = grid_tensors()->pointers(true);
    args.rounding = spec().rounding();
    args.x = values.raw(), args.codes = codes.values.raw();
    kernels::launch<&kernels::cuda::quantize>(values, args);
    return make_result(record("quantize", x), std::move(codes));
  }
  const QuantParams p = params();
  const quant_math::Grid grid{p.scale, p.zero_point, p.qmin, p.qmax};
  Tensor codes = Tensor::empty(x.context(), x.shape(), DType::kUInt8);
  kernels::quantize_to_codes(values, grid, spec().rounding(), codes);
  return make_result(record("quantize", x), Codes{std::move(codes), p});
}

}  // namespace halftone
