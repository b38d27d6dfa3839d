#include "quant/range_quantize.h"

#include <cmath>

#include "quant/observer.h"

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
}

void RangeQuantize::observe_values(const Tensor& x) {
  check_not_empty(x);
  observe(kernels::observe_ranges(x, spec().per_channel ? memory_axis(spec().axis, x.rank()) : -1));
}

void RangeQuantize::observe(const std::vector<kernels::Range>& seen) {
  check_finite(seen);
  std::vector<kernels::Range> tracked = ranges();
  const ObserverRule rule{spec().observer, spec().ema_decay, type() == QuantType::kWeight};
  track_ranges(rule, initialised(), seen, tracked);
  set_ranges(tracked);
}

std::vector<kernels::Range> RangeQuantize::ranges() const {
  std::vector<kernels::Range> out(min_->numel());
  for (size_t c = 0; c < out.size(); ++c) out[c] = {min_->data<float>()[c], max_->data<float>()[c]};
  return out;
}

void RangeQuantize::set_ranges(const std::vector<kernels::Range>& ranges) {
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
  set_initialised(any);
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
