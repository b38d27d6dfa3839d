// Quantization-aware training.
#pragma once

#include "quant/quantizer.h"

namespace halftone {

// QAT (Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
// Integer-Arithmetic-Only Inference", arXiv:1712.05877): q = clamp(rint(x / s) + z, qmin, qmax) in
// every forward (equation 12), straight through in every backward. Weights: s from the current
// range. Activations: s and z from ranges that move with decay 0.99 (section 3.1). Float training
// until quant_start_step.
class QatQuantizer : public Quantizer {
 public:
  using Quantizer::Quantizer;
  std::string name() const override { return "QAT_Quantizer"; }
  ConfigRules rules() const override;

 protected:
  std::shared_ptr<FakeQuantize> make_fake_quantize(Module& module,
                                                   const FakeQuantizeArgs& args) const override;
};

}  // namespace halftone
