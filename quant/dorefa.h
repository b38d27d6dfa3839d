// DoReFa-Net.
#pragma once

#include "quant/quantizer.h"

namespace halftone {

// DoReFa (Zhou et al. 2016, "DoReFa-Net: Training Low Bitwidth Convolutional Neural Networks with
// Low Bitwidth Gradients", arXiv:1606.06160): weights, inputs, outputs and gradients with bit
// widths of their own, 1 to 16, e.g. quant_bits {"weight": 1, "input": 2, "gradient": 4}. Formulas
// stand at DorefaQuantize and DorefaGradient (equations 5 to 12). "gradient" is the one that
// reaches the result of a Conv2d or Linear, before batch norm and activation. As the paper does,
// leave the first and the last layer out (exclude), or quantize only their weights: an input
// quantizer clamps images to [0, 1]. The weights lie in [-1, 1] whatever their size was: batch norm
// should follow.
// NNI's bugs that are not here: weights only (D1), a gradient that skips tanh and max (D2), one bit
// without E|w| (D3), NaN of zero weights (D4), exports without the latent weights (D5), and of its
// version 3 missing levels, noise per sample, tied gradient bits and input ranges of the batch
// (D6).
class DorefaQuantizer : public Quantizer {
 public:
  using Quantizer::Quantizer;
  std::string name() const override { return "DoReFaQuantizer"; }
  ConfigRules rules() const override;
  bool approximates_float() const override { return false; }

 protected:
  std::shared_ptr<FakeQuantize> make_fake_quantize(Module& module,
                                                   const FakeQuantizeArgs& args) const override;
};

}  // namespace halftone
