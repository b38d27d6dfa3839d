#include "quant/observer_quantize.h"

#include <algorithm>
#include <cmath>

#include "autograd/graph.h"
#include "kernels/device_call.h"
#include "quant/host_values.h"
#include "quant/observer.h"

namespace halftone {
namespace {

// Of the exact histogram: half of them for magnitudes.
constexpr int kBins = 4096;
constexpr int kTorchBins = 2048;

bool is_searched(ObserverKind kind) {
  return kind != ObserverKind::kMinMax && kind != ObserverKind::kEma;
}

std::vector<int32_t> observer_numbers(const QuantSpec& spec) {
  return {static_cast<int32_t>(spec.observer), spec.reduce_range};
}

std::string observer_name(const std::vector<int32_t>& numbers) {
  return "observer " + name_of(static_cast<ObserverKind>(std::clamp(numbers[0], 0, 4))) +
         (numbers[1] != 0 ? ", reduced range" : "");
}

}  // namespace

ObserverQuantize::ObserverQuantize(const Context& context, const FakeQuantizeArgs& args)
    : RangeQuantize(context, args) {
  keep_at_home();
  const Context host = context.host();
  register_buffer("observer", Tensor::from(host, Shape{2}, observer_numbers(spec())));
  batches_ = &register_buffer("batches", Tensor::zeros(host, {1}, DType::kInt64));
  const bool exact = spec().observer != ObserverKind::kHistogram;
  histogram_ = &register_buffer("histogram",
                                Tensor::zeros(host, {0}, exact ? DType::kInt64 : DType::kFloat32));
  histogram_range_ = &register_buffer("histogram_range", Tensor::zeros(host, {2}));
}

std::string ObserverQuantize::describe() const {
  return RangeQuantize::describe() + ", " + observer_in_words();
}

std::string ObserverQuantize::observer_in_words() const {
  return observer_name(observer_numbers(spec()));
}

void ObserverQuantize::check_buffer(const std::string& name, const std::string& full_name,
                                    const Tensor& found) const {
  RangeQuantize::check_buffer(name, full_name, found);
  const bool counts = name == "histogram" && found.numel() != 0 && found.shape() != Shape{bins()};
  if (counts) {
    throw HALFTONE_ERROR("load_state_dict")
        .at(full_name)
        .expected(std::to_string(bins()) + " counts, or none")
        .found(found.shape().str());
  }
  if (name != "observer") return;
  const std::vector<int32_t> numbers = found.to(DType::kInt32).to_vector<int32_t>();
  if (numbers == observer_numbers(spec())) return;
  throw HALFTONE_ERROR("load_state_dict")
      .at(full_name)
      .expected(observer_in_words())
      .found(observer_name(numbers))
      .fix("use the config_list of the calibration");
}

bool ObserverQuantize::observes() const {
  return !range_known() && !training() && observer_enabled() && type() != QuantType::kWeight &&
         GraphRecorder::current() == nullptr;
}

void ObserverQuantize::observe_values(const Tensor& x) {
  if (type() == QuantType::kWeight) return RangeQuantize::observe_values(x);
  if (range_known()) {
    throw HALFTONE_ERROR("observe")
        .at(path())
        .what_happened("the range is fixed already")
        .fix("make the quantizer anew to calibrate again");
  }
  check_not_empty(x.shape());
  const int axis = spec().per_channel ? memory_axis(spec().axis, x.rank()) : -1;
  if (!x.on_host() && !spec().nni) {
    observe_on_device(x, axis);
  } else {
    const std::vector<kernels::Range> seen = kernels::observe_ranges(x, axis);
    check_finite(seen);
    if (is_searched(spec().observer)) update(at_home(x));
    track(seen);
  }
  ++*batches_->data<int64_t>();
}

// The host waits for nothing: it reads what was tracked and counted in fix().
void ObserverQuantize::observe_on_device(const Tensor& x, int axis) {
  const kernels::cuda::ChannelLayout layout = kernels::channel_layout(x.shape(), axis);
  kernels::cuda::ObserveArgs args = tracking_ranges(layout.channels);
  args.layout = layout, args.x = x.raw();
  kernels::launch<&kernels::cuda::observe>(x, args);
  if (is_searched(spec().observer)) count_on_device(x, args.low, args.high);
}

// low, high: of all batches.
void ObserverQuantize::count_on_device(const Tensor& x, const float* low, const float* high) {
  const bool exact = counts_exactly();
  if (histogram_->numel() == 0) {
    *histogram_ = Tensor::zeros(context(), {bins()}, exact ? DType::kInt64 : DType::kFloat32);
    assign(std::vector<float>{exact ? 0.0f : 1.0f, 0.0f}, *histogram_range_);
  }
  for (Tensor* t : {histogram_, histogram_range_}) *t = t->to(context());
  if (!exact && !more_.defined()) more_ = Tensor::zeros(context(), {bins()}, DType::kInt64);
  auto* range = static_cast<float*>(histogram_range_->raw());
  auto* counts = static_cast<uint64_t*>((exact ? *histogram_ : more_).raw());
  kernels::cuda::WidenHistogramArgs widen;
  widen.bins = static_cast<int>(bins()), widen.low = low, widen.high = high, widen.range = range;
  if (exact) widen.exact_counts = counts;
  if (!exact) widen.counts = static_cast<float*>(histogram_->raw());
  kernels::launch<&kernels::cuda::widen_histogram>(x, widen);
  kernels::cuda::HistogramArgs add;
  add.numel = x.numel(), add.x = x.raw(), add.bins = widen.bins;
  add.low = range, add.high = range + 1, add.counts = counts;
  kernels::launch<&kernels::cuda::add_histogram>(x, add);
  if (exact) return;
  kernels::launch<&kernels::cuda::move_counts>(
      x, kernels::cuda::MoveCountsArgs{widen.bins, counts, widen.counts});
}

void ObserverQuantize::track(const std::vector<kernels::Range>& seen) {
  std::vector<kernels::Range> tracked = ranges();
  ObserverRule rule{spec().observer, spec().ema_decay, false};
  if (is_searched(rule.kind)) rule.kind = ObserverKind::kMinMax;
  track_ranges(rule, batches() > 0, seen, tracked);
  store(tracked);
}

void ObserverQuantize::update(const Tensor& x) {
  float* range = histogram_range_->data<float>();
  if (spec().observer == ObserverKind::kHistogram) {
    kernels::RangeHistogram h;
    const bool again = spec().nni && range[0] == range[1];  // PyTorch 1.13 forgets a constant
    if (histogram_->numel() > 0 && !again) h = {range[0], range[1], histogram_->to_vector<float>()};
    kernels::update_histogram(x, {kTorchBins, 128, spec().nni}, h);
    *histogram_ = Tensor::from(context().host(), Shape{bins()}, h.counts);
    range[0] = h.low, range[1] = h.high;
    return;
  }
  kernels::SymmetricHistogram h;
  if (histogram_->numel() > 0) h = {range[1], histogram_->to_vector<int64_t>()};
  kernels::update_histogram(x, kBins, h);
  *histogram_ = Tensor::from(context().host(), Shape{bins()}, h.counts);
  range[0] = -h.high, range[1] = h.high;
}

int64_t ObserverQuantize::bins() const {
  return spec().observer == ObserverKind::kHistogram ? kTorchBins : kBins;
}

int ObserverQuantize::levels() const {
  const quant_math::Grid g = quant_math::empty_grid(spec().rule());
  return spec().nni ? 1 << spec().bits : g.qmax - g.qmin + 1;  // NNI: whatever the reduced range
}

// Within what was seen.
kernels::Range ObserverQuantize::searched() const {
  const Tensor ends = at_home(*histogram_range_);
  const float* range = ends.data<float>();
  if (spec().observer == ObserverKind::kHistogram)
    return least_squares_range({range[0], range[1], histogram_->to_vector<float>()}, levels());
  const kernels::SymmetricHistogram h{range[1], histogram_->to_vector<int64_t>()};
  const kernels::Range seen = ranges()[0];
  kernels::Range chosen = seen;
  if (spec().observer == ObserverKind::kPercentile) {
    chosen = percentile_range(h, spec().percentile);
  } else if (h.high > 0.0f) {
    // Codes for magnitudes: all of them where every value has one sign, else half.
    const bool one_sign = !spec().symmetric && (seen.low >= 0.0f || seen.high <= 0.0f);
    const int kept =
        least_divergence_bins(h.magnitudes(), one_sign ? levels() : (levels() + 1) / 2);
    const float high = h.high * static_cast<float>(kept) / static_cast<float>(kBins / 2);
    chosen = {-high, high};
  }
  return {std::max(chosen.low, seen.low), std::min(chosen.high, seen.high)};
}

void ObserverQuantize::check_calibrated() {
  if (follows() || range_known()) return;
  if (saw_not_finite()) {
    throw HALFTONE_ERROR("compress")
        .at(path())
        .expected("finite values up to 2^60 in the calibration (" + name_of(type()) + ")")
        .found("NaN, an infinity or a larger one")
        .fix("look at the data and the weights, and calibrate anew");
  }
  if (batches() > 0) return;
  throw HALFTONE_ERROR("compress")
      .at(path())
      .expected("at least one forward in evaluation mode to calibrate " + name_of(type()))
      .found("none")
      .fix("model.eval(), run some batches of data through the model, then compress()");
}

void ObserverQuantize::fix() {
  if (follows() || range_known()) return;
  check_calibrated();
  set_ranges(is_searched(spec().observer) ? std::vector<kernels::Range>{searched()} : ranges());
}

bool ObserverQuantize::range_known() const {
  // Without batches the range is the host's. Empty: of channels that no batch has shown yet.
  return initialised() || (batches() == 0 && !ranges().empty() && RangeQuantize::range_known());
}

void ObserverQuantize::set_ranges(const std::vector<kernels::Range>& ranges) {
  *batches_->data<int64_t>() = 0;
  *histogram_ = Tensor::zeros(context().host(), {0}, histogram_->dtype());
  *histogram_range_ = at_home(*histogram_range_);
  more_ = {};
  RangeQuantize::set_ranges(ranges);
  keep_at_home();
  if (!spec().nni || !initialised()) return;
  const std::vector<quant_math::Grid> list = grids(4).list;
  std::vector<kernels::Range> shown;
  for (const quant_math::Grid& g : list)
    shown.push_back({quant_math::dequantize(g.qmin, g), quant_math::dequantize(g.qmax, g)});
  store(shown, list);
}

quant_math::Grid ObserverQuantize::grid_of(const kernels::Range& range) const {
  quant_math::Grid g = RangeQuantize::grid_of(range);
  if (!spec().nni || type() != QuantType::kWeight || !spec().symmetric || !spec().is_signed)
    return g;
  const float steps = static_cast<float>((1 << spec().bits) - 1);
  g.scale = std::max(std::max(-range.low, range.high) / (steps / 2.0f), quant_math::kScaleFloor);
  return g;
}

}  // namespace halftone
