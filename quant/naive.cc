#include "quant/naive.h"

#include <algorithm>

namespace halftone {

void NaiveQuantize::observe_values(const Tensor& x) {
  if (!spec().nni || !initialised()) return RangeQuantize::observe_values(x);
  const std::vector<kernels::Range> before = ranges();
  RangeQuantize::observe_values(x);
  std::vector<kernels::Range> largest = ranges();
  for (size_t c = 0; c < largest.size(); ++c) {
    largest[c].low = std::min(largest[c].low, before[c].low);
    largest[c].high = std::max(largest[c].high, before[c].high);
  }
  set_ranges(largest);
}

Variable NaiveQuantize::quantize(const Variable& x) {
  if (!spec().nni) return RangeQuantize::quantize(x);
  const Tensor value = x.value();
  Tensor y = Tensor::empty(value.context(), value.shape());
  kernels::fake_quantize_truncate(value, grids(value.rank()), y);
  auto backward = [](const Tensor& dy, GradSink& sink) { sink.out(0).copy_from(dy); };
  return make_result({"fake_quantize", {x}, std::move(backward)}, std::move(y));
}

Tensor NaiveQuantize::codes(const Tensor& x) const {
  if (!spec().nni) return RangeQuantize::codes(x);
  Tensor y = Tensor::empty(x.context(), x.shape());
  kernels::fake_quantize_truncate(x, grids(x.rank()), y);
  return RangeQuantize::codes(y);  // y lies on the grid: rounding finds its code
}

ConfigRules NaiveQuantizer::rules() const {
  ConfigRules rules;
  rules.types = {QuantType::kWeight};
  rules.min_bits = rules.max_bits = 8;
  rules.keys = {"quant_dtype", "quant_scheme", "axis", "observer"};
  rules.observers = {ObserverKind::kMinMax};
  QuantSpec& weight = rules.defaults[QuantType::kWeight];
  weight.is_signed = weight.symmetric = true;
  weight.observer = ObserverKind::kMinMax;
  return rules;
}

std::shared_ptr<FakeQuantize> NaiveQuantizer::make_fake_quantize(
    Module& module, const FakeQuantizeArgs& args) const {
  auto quantizer = make<NaiveQuantize>(module.context(), args);
  quantizer->observe_values(dynamic_cast<WeightLayer&>(module).weight.value());
  return quantizer;
}

}  // namespace halftone
