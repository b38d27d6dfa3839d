#include "quant/range_quantize.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/device_call.h"
#include "quant/host_values.h"
#include "quant/observer.h"
#include "quant/scale_group.h"

namespace halftone {
namespace {

Tensor filled(const Context& context, int64_t n, float value) {
  return Tensor::full(context, {n}, value);
}

}  // namespace

RangeQuantize::RangeQuantize(const Context& context, const FakeQuantizeArgs& args)
    : FakeQuantize(context, args) {
  const int64_t n = args.spec.per_channel ? args.channels : 1;
  scale_ = &register_buffer("scale", filled(context, n, 1.0f));
  zero_point_ = &register_buffer("zero_point", Tensor::zeros(context, {n}, DType::kInt32));
  min_ = &register_buffer("min_val", filled(context, n, INFINITY));
  max_ = &register_buffer("max_val", filled(context, n, -INFINITY));
  if (!context.on_cpu()) not_finite_ = Tensor::zeros(context, {1}, DType::kInt32);
}

void RangeQuantize::keep_at_home() {
  for (Tensor* t : {scale_, zero_point_, min_, max_}) *t = at_home(*t);
}

void RangeQuantize::join(std::shared_ptr<ScaleGroup> group, const RangeQuantize& first) {
  group_ = std::move(group);
  if (!scale_->on_host()) *scale_ = *first.scale_;
}

void RangeQuantize::observe_values(const Tensor& x) {
  check_not_empty(x.shape());
  const int axis = spec().per_channel ? memory_axis(spec().axis, x.rank()) : -1;
  if (observes_on_device()) {
    if (follows()) return;
    kernels::cuda::ObserveArgs args = tracking();
    args.layout = kernels::channel_layout(x.shape(), axis);
    args.x = x.raw();
    kernels::launch<&kernels::cuda::observe>(x, args);
    return tracked();
  }
  observe(kernels::observe_ranges(x, axis));
}

bool RangeQuantize::observes_on_device() const {
  return !scale_->on_host() && training() && initialised() && !spec().nni && !checks_values() &&
         (spec().observer == ObserverKind::kEma || spec().observer == ObserverKind::kMinMax);
}

std::optional<GridTensors> RangeQuantize::grid_tensors() const {
  if (scale_->on_host()) return std::nullopt;
  const quant_math::Grid g = empty_grid();
  const int32_t up = spec().is_signed ? 128 : 0, z = g.zero_point;
  // The host knows a symmetric zero point, and a group's: codes around it, stored that much higher.
  if ((spec().symmetric && !spec().nni) || group_ != nullptr)
    return GridTensors{*scale_, {}, {}, g.qmin - z, g.qmax - z, up + z};
  return GridTensors{*scale_, *zero_point_, {}, g.qmin, g.qmax, up};
}

// A weight has the same range in all calls of a step.
void RangeQuantize::leave_grid() {
  again_ = std::exchange(tracked_at_, steps()) == steps() && type() != QuantType::kWeight;
  if (!again_ || group_ != nullptr) return;
  for (Tensor* t : {scale_, zero_point_}) {
    if (!t->unique()) *t = t->clone();
  }
}

kernels::cuda::ObserveArgs RangeQuantize::tracking() {
  using kernels::cuda::Tracking;
  leave_grid();
  kernels::cuda::ObserveArgs args;
  args.tracking = type() == QuantType::kWeight               ? Tracking::kCurrent
                  : spec().observer == ObserverKind::kMinMax ? Tracking::kMinMax
                                                             : Tracking::kEma;
  args.decay = spec().ema_decay, args.rule = spec().rule();
  args.low = static_cast<float*>(min_->raw()), args.high = static_cast<float*>(max_->raw());
  if (group_ == nullptr) {
    args.scale = static_cast<float*>(scale_->raw());
    args.zero_point = static_cast<int32_t*>(zero_point_->raw());
  }
  args.not_finite = static_cast<int32_t*>(const_cast<void*>(not_finite_.raw()));
  return args;
}

void RangeQuantize::tracked() {
  if (group_ != nullptr && group_->leads(*this)) group_->refresh_on_device(again_);
}

bool RangeQuantize::saw_not_finite() {
  if (!not_finite_.defined() || at_home(not_finite_).data<int32_t>()[0] == 0) return false;
  assign(std::vector<int32_t>{0}, not_finite_);
  return true;
}

kernels::cuda::ObserveArgs RangeQuantize::tracking_ranges(int64_t channels) {
  using kernels::cuda::Tracking;
  if (min_->numel() != channels) {
    *min_ = filled(context(), channels, INFINITY), *max_ = filled(context(), channels, -INFINITY);
  }
  for (Tensor* t : {min_, max_}) *t = t->to(context());
  kernels::cuda::ObserveArgs args;
  args.tracking = spec().observer == ObserverKind::kEma ? Tracking::kEma : Tracking::kMinMax;
  args.decay = spec().ema_decay, args.largest = kLargestActivation;
  args.low = static_cast<float*>(min_->raw()), args.high = static_cast<float*>(max_->raw());
  args.not_finite = static_cast<int32_t*>(not_finite_.raw());
  return args;
}

// What the device has seen since the host looked.
void RangeQuantize::check_tracked() {
  if (!saw_not_finite()) return;
  throw HALFTONE_ERROR("fake_quantize")
      .at(path())
      .expected("finite values to quantize (" + name_of(type()) + ")")
      .found("NaN or an infinity in the last hundred steps")
      .fix("look at the data, and whether the learning rate is too high");
}

bool RangeQuantize::follows() const { return group_ != nullptr && group_->follows(*this); }

void RangeQuantize::observe(const std::vector<kernels::Range>& seen) {
  check_tracked();
  check_finite(seen);
  if (follows()) return;
  std::vector<kernels::Range> tracked = ranges();
  const ObserverRule rule{spec().observer, spec().ema_decay, type() == QuantType::kWeight,
                          spec().nni};
  track_ranges(rule, initialised(), seen, tracked);
  keep(tracked);
}

std::vector<kernels::Range> RangeQuantize::ranges() const {
  const Tensor low = at_home(*min_), high = at_home(*max_);
  std::vector<kernels::Range> out(low.numel());
  for (size_t c = 0; c < out.size(); ++c) out[c] = {low.data<float>()[c], high.data<float>()[c]};
  return out;
}

quant_math::Grid RangeQuantize::grid_of(const kernels::Range& range) const {
  return quant_math::choose_grid(range.low, range.high, spec().rule());
}

void RangeQuantize::store(const std::vector<kernels::Range>& ranges,
                          const std::vector<quant_math::Grid>& grids) {
  const int64_t n = static_cast<int64_t>(ranges.size());
  if (scale_->numel() != n) {
    const Context home = scale_->context();
    *scale_ = filled(home, n, 1.0f);
    *min_ = filled(home, n, 0.0f);
    *max_ = filled(home, n, 0.0f);
    *zero_point_ = Tensor::zeros(home, {n}, DType::kInt32);
  }
  std::vector<float> low, high, scale;
  std::vector<int32_t> zero_point;
  for (int64_t c = 0; c < n; ++c) {
    low.push_back(ranges[c].low), high.push_back(ranges[c].high);
    scale.push_back(grids[c].scale), zero_point.push_back(grids[c].zero_point);
  }
  assign(low, *min_), assign(high, *max_), assign(scale, *scale_);
  assign(zero_point, *zero_point_);
}

void RangeQuantize::store(const std::vector<kernels::Range>& ranges) {
  std::vector<quant_math::Grid> grids;
  for (const kernels::Range& r : ranges) grids.push_back(grid_of(r));
  store(ranges, grids);
}

void RangeQuantize::keep(const std::vector<kernels::Range>& ranges) {
  if (group_ == nullptr) return set_ranges(ranges);
  store(ranges, grids(1).list);
  if (group_->leads(*this) || !initialised()) group_->refresh();
}

void RangeQuantize::set_ranges(const std::vector<kernels::Range>& ranges) {
  if (follows()) return;
  if (group_ != nullptr) {
    store(ranges, grids(1).list);
    return group_->refresh();
  }
  store(ranges);
  set_initialised(std::any_of(ranges.begin(), ranges.end(),
                              [](const kernels::Range& r) { return r.low <= r.high; }));
}

void RangeQuantize::set_grids(const std::vector<quant_math::Grid>& list) {
  std::vector<kernels::Range> ranges;
  for (const quant_math::Grid& g : list)
    ranges.push_back({quant_math::dequantize(g.qmin, g), quant_math::dequantize(g.qmax, g)});
  store(ranges, list);
  set_initialised(true);
}

kernels::Grids RangeQuantize::grids(int rank) const {
  kernels::Grids out;
  out.axis = spec().per_channel ? memory_axis(spec().axis, rank) : -1;
  out.rounding = spec().rounding();
  const quant_math::Grid empty = quant_math::empty_grid(spec().rule());
  const Tensor scale = at_home(*scale_), zero = at_home(*zero_point_);
  for (int64_t c = 0; c < scale.numel(); ++c) {
    out.list.push_back({scale.data<float>()[c], zero.data<int32_t>()[c], empty.qmin, empty.qmax});
  }
  return out;
}

}  // namespace halftone
