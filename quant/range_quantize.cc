#include "quant/range_quantize.h"

#include <algorithm>
#include <cmath>

#include "quant/observer.h"
#include "quant/scale_group.h"

namespace halftone {
namespace {

Tensor filled(const Context& context, int64_t n, float value) {
  return Tensor::full(context.host(), {n}, value);
}

}  // namespace

RangeQuantize::RangeQuantize(const Context& context, const FakeQuantizeArgs& args)
    : FakeQuantize(context, args) {
  const int64_t n = args.spec.per_channel ? args.channels : 1;
  scale_ = &register_buffer("scale", filled(context, n, 1.0f));
  zero_point_ = &register_buffer("zero_point", Tensor::zeros(context.host(), {n}, DType::kInt32));
  min_ = &register_buffer("min_val", filled(context, n, INFINITY));
  max_ = &register_buffer("max_val", filled(context, n, -INFINITY));
}

void RangeQuantize::observe_values(const Tensor& x) {
  check_not_empty(x.shape());
  observe(kernels::observe_ranges(x, spec().per_channel ? memory_axis(spec().axis, x.rank()) : -1));
}

bool RangeQuantize::follows() const { return group_ != nullptr && group_->follows(*this); }

void RangeQuantize::observe(const std::vector<kernels::Range>& seen) {
  check_finite(seen);
  if (follows()) return;
  std::vector<kernels::Range> tracked = ranges();
  const ObserverRule rule{spec().observer, spec().ema_decay, type() == QuantType::kWeight,
                          spec().nni};
  track_ranges(rule, initialised(), seen, tracked);
  keep(tracked);
}

std::vector<kernels::Range> RangeQuantize::ranges() const {
  std::vector<kernels::Range> out(min_->numel());
  for (size_t c = 0; c < out.size(); ++c) out[c] = {min_->data<float>()[c], max_->data<float>()[c]};
  return out;
}

quant_math::Grid RangeQuantize::grid_of(const kernels::Range& range) const {
  return quant_math::choose_grid(range.low, range.high, spec().rule());
}

void RangeQuantize::store(const std::vector<kernels::Range>& ranges,
                          const std::vector<quant_math::Grid>& grids) {
  const int64_t n = static_cast<int64_t>(ranges.size());
  if (scale_->numel() != n) {
    *scale_ = filled(context(), n, 1.0f);
    *min_ = filled(context(), n, 0.0f);
    *max_ = filled(context(), n, 0.0f);
    *zero_point_ = Tensor::zeros(context().host(), {n}, DType::kInt32);
  }
  for (int64_t c = 0; c < n; ++c) {
    min_->data<float>()[c] = ranges[c].low;
    max_->data<float>()[c] = ranges[c].high;
    scale_->data<float>()[c] = grids[c].scale;
    zero_point_->data<int32_t>()[c] = grids[c].zero_point;
  }
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
  for (int64_t c = 0; c < scale_->numel(); ++c) {
    out.list.push_back(
        {scale_->data<float>()[c], zero_point_->data<int32_t>()[c], empty.qmin, empty.qmax});
  }
  return out;
}

}  // namespace halftone
