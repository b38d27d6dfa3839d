#include "quant/rule_quantize.h"

#include <algorithm>

#include "nn/input_check.h"

namespace halftone {

RuleQuantize::RuleQuantize(const Context& context, const FakeQuantizeArgs& args)
    : FakeQuantize(context, args) {
  set_initialised(true);
}

void RuleQuantize::observe_values(const Tensor& x) {
  check_not_empty(x.shape());
  check_finite(x);
}

int64_t RuleQuantize::count_clipped(const Tensor& x) const {
  if (type() != QuantType::kInput && type() != QuantType::kOutput) return 0;
  const kernels::Range range = ranges().at(0);
  const Tensor home = x.to(x.context().host());
  const float* values = home.data<float>();
  return std::count_if(values, values + x.numel(),
                       [&](float v) { return v < range.low || v > range.high; });
}

Tensor RuleQuantize::before_rounding(const Tensor& x) const {
  Tensor y = Tensor::empty(x.context(), x.shape());
  write_values(x, y);
  return y;
}

std::vector<kernels::Range> RuleQuantize::ranges() const {
  std::vector<kernels::Range> out;
  for (const quant_math::Grid& g : grids(is_weight() ? 2 : 4).list)
    out.push_back({quant_math::dequantize(g.qmin, g), quant_math::dequantize(g.qmax, g)});
  return out;
}

void RuleQuantize::set_ranges(const std::vector<kernels::Range>& wanted) {
  const std::vector<kernels::Range> fixed = ranges();
  bool same = wanted.size() == fixed.size();
  for (size_t c = 0; same && c < fixed.size(); ++c)
    same = wanted[c].low == fixed[c].low && wanted[c].high == fixed[c].high;
  if (same) return;
  const auto text = [](const std::vector<kernels::Range>& r) {
    return r.empty() ? "none" : short_number(r[0].low) + " .. " + short_number(r[0].high);
  };
  throw HALFTONE_ERROR("set_ranges")
      .at(path())
      .expected("the range " + text(fixed) + ", which the algorithm fixes")
      .found(text(wanted));
}

}  // namespace halftone
