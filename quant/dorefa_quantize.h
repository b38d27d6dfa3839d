// DoReFa-Net's quantizers of one tensor.
#pragma once

#include "quant/rule_quantize.h"

namespace halftone {

// n = 2^k - 1. Weights:
//   k > 1: w_q = 2 quantize_k(t / (2 max |t|) + 1/2) - 1, t = tanh(w); the gradient goes through
//          tanh and the max, straight through the rounding (equations 5, 9, 10). Codes 2 i - n of
//          scale 1 / n: k + 1 bits, so 7 bits and fewer fit int8.
//   k = 1: w_q = sign(w) E|w|, one scale for the layer, sign(0) = +1; dw = dy (equations 7, 8).
// Activations: quantize_k(clamp(x, 0, 1)); dx = dy where 0 <= x <= 1 (equation 11). Codes 0 .. n of
// scale 1 / n, z = 0.
class DorefaQuantize : public RuleQuantize {
 public:
  // weight: the layer's, for the type kWeight.
  DorefaQuantize(const Context& context, const FakeQuantizeArgs& args, Variable weight = {});
  std::string summary_of_spec() const override;
  std::string integer_obstacle() const override;
  quant_math::Pass pass() const override;
  quant_math::Grid empty_grid() const override;
  kernels::Grids grids(int rank) const override;
  GradientFn gradient(const Shape& x) const override;
  quant_math::PassRule pass_rule() const override { return quant_math::PassRule::kFixed; }
  std::optional<GridTensors> grid_tensors() const override;

 protected:
  void write_values(const Tensor& x, Tensor& y) const override;

 private:
  int bits() const { return spec().bits; }
  bool one_bit_weight() const { return is_weight() && bits() == 1; }
  void write_scaled_signs(const Tensor& w, Tensor& y) const;

  Variable weight_;
  mutable Tensor scale_;  // of a device; of one bit that of the weights written last
};

// The identity, whose gradient is quantized (equation 12), every element with noise of its own:
//   f(g) = 2 m (quantize_k(g / (2 m) + 1/2 + N) - 1/2),  N uniform in +-1/2 / n,
//   m = max |g| of each sample.
// Every forward in training takes one stream of the context's random state, so that a resumed run
// draws the same numbers.
class DorefaGradient : public RuleQuantize {
 public:
  using RuleQuantize::RuleQuantize;
  std::string summary_of_spec() const override;
  Variable forward(const std::vector<Variable>& inputs) override;

  // For who computes the gradient elsewhere: no noise where it is to stay as it is.
  std::optional<Philox> draw() const;
  void quantize_gradient(const Tensor& g, const Philox& noise, Tensor& out) const;
  // In units of m: codes 2 i - n of scale 1 / n.
  kernels::Grids grids(int rank) const override;
};

}  // namespace halftone
