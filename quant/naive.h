// Quantized weights, without anything learned or observed.
#pragma once

#include "quant/quantizer.h"
#include "quant/range_quantize.h"

namespace halftone {

// One weight of NaiveQuantizer. Under NNI's arithmetic: s grows and never shrinks, codes are cut
// off towards zero, and the gradient passes everywhere.
class NaiveQuantize : public RangeQuantize {
 public:
  using RangeQuantize::RangeQuantize;
  // Under NNI's arithmetic evaluation may raise the scale too.
  bool observes() const override { return spec().nni || RangeQuantize::observes(); }
  void observe_values(const Tensor& x) override;
  Tensor codes(const Tensor& x) const override;

 protected:
  Variable quantize(const Variable& x) override;
};

// NNI's NaiveQuantizer: 8-bit weights on a symmetric grid from their own range,
//     s = max|w| / 127    q = rint(w / s)    w_q = s q,
// straight through in the backward. By default per tensor, as in NNI; per_channel_symmetric is
// understood. The scale is there from the beginning, so that a trained network is quantized without
// another step; every training forward takes it anew, and evaluation uses the last one.
// NNI (V1 of its list of bugs) truncates instead of rounding, and keeps the largest scale ever
// seen: QuantizerOptions::nni does as it does.
class NaiveQuantizer : public Quantizer {
 public:
  using Quantizer::Quantizer;
  std::string name() const override { return "NaiveQuantizer"; }
  ConfigRules rules() const override;
  bool needs_training() const override { return false; }

 protected:
  std::shared_ptr<FakeQuantize> make_fake_quantize(Module& module,
                                                   const FakeQuantizeArgs& args) const override;
};

}  // namespace halftone
