// A quantizer whose values follow from a fixed rule.
#pragma once

#include "quant/fake_quantize.h"

namespace halftone {

// DoReFa and BNN: nothing is tracked, and what is quantized says everything, in training as in
// evaluation. A subclass writes the values; their codes are found by rounding them to grids().
class RuleQuantize : public FakeQuantize {
 public:
  RuleQuantize(const Context& context, const FakeQuantizeArgs& args);

  bool observes() const override { return false; }
  void observe_values(const Tensor& x) override;
  // Activations outside of ranges(); weights and gradients are never clipped.
  int64_t count_clipped(const Tensor& x) const override;
  Tensor before_rounding(const Tensor& x) const override;
  std::vector<kernels::Range> ranges() const override;
  // Throws unless they are what ranges() says.
  void set_ranges(const std::vector<kernels::Range>& ranges) override;

 protected:
  bool is_weight() const { return type() == QuantType::kWeight; }
};

}  // namespace halftone
