// Biases as the int32 numbers that an integer layer adds.
#pragma once

#include <memory>
#include <vector>

#include "quant/fake_quantize.h"

namespace halftone {

// y = s rint(b / s) with s = s_x s_w per output channel and zero point 0 (Jacob et al. 2018,
// section 2.4); |code| <= 2^30, as in the epilogue of a chain. Nothing is tracked: the scale is
// that of the input and of the weight, whose quantizers run before. Until both are known, values
// pass through.
class BiasQuantize : public FakeQuantize {
 public:
  BiasQuantize(const Context& context, const FakeQuantizeArgs& args);
  // Of one layer; the input's is per tensor.
  void bind(std::shared_ptr<FakeQuantize> input, std::shared_ptr<FakeQuantize> weight);

  Variable forward(const std::vector<Variable>& inputs) override;
  bool will_quantize() const override;
  // Whether input and weight are: the buffer says nothing.
  bool initialised() const override;
  bool observes() const override { return false; }
  void observe_values(const Tensor&) override {}
  kernels::Grids grids(int rank) const override;
  quant_math::Grid empty_grid() const override;
  Tensor codes(const Tensor& x) const override;
  std::vector<kernels::Range> ranges() const override;  // what 2^30 steps reach
  void set_ranges(const std::vector<kernels::Range>&) override {}

 protected:
  void write_values(const Tensor& x, Tensor& y) const override;

 private:
  std::shared_ptr<FakeQuantize> input_, weight_;
};

}  // namespace halftone
