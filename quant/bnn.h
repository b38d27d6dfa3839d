// Binary networks.
#pragma once

#include "quant/quantizer.h"
#include "quant/sign_batch.h"

namespace halftone {

// BNN (Hubara et al. 2016, "Binarized Neural Networks", NIPS; arXiv:1602.02830): weights, inputs
// and outputs are -1 or +1. Formulas stand at BinaryQuantize. quant_bits is 1, or where a network
// keeps more, as in its first and last layer (first_layer_bits, last_layer_bits), up to 8: grids on
// the weight's range per channel and on the tracked range of an activation, as QAT_Quantizer's.
// Keys of config_list beyond NNI's:
//   binarization   "deterministic" | "stochastic" (in training alone), or by type
//   sign_gradient  "straight_through" | "approx_sign" (Bi-Real Net, Liu et al. 2018, arXiv:
//                  1808.00278) of inputs and outputs, or by type
//   xnor_scale     true: weights alpha sign(w), alpha per output channel (XNOR-Net, Rastegari et
//                  al. 2016, arXiv:1603.05279)
//   padding_value  0 | -1 | 1: what a Conv2d pads its binary input with
// NNI's bugs that are not here: weights that are never clipped (N1), exports one step behind (N3),
// bits that are read and not used (N5). Layers are chosen by config_list alone: its example leaves
// the weights of features.0, features.17 and classifier.6, and the output of features.2, in float
// (N2); bnn_vgg_cifar10_bnn.yaml does the same, bnn_vgg_cifar10_bnn_full.yaml does not.
class BnnQuantizer : public Quantizer {
 public:
  using Quantizer::Quantizer;
  std::string name() const override { return "BNNQuantizer"; }
  ConfigRules rules() const override;
  bool approximates_float() const override { return false; }

 protected:
  // Signs are exact as floats, and constants of an epilogue would have to come from the host, layer
  // by layer.
  bool integer_on_device() const override { return false; }
  std::shared_ptr<FakeQuantize> make_fake_quantize(Module& module,
                                                   const FakeQuantizeArgs& args) const override;
  // Warns of signs that the graph knows to be +1, and of those without integer form.
  void prepare_points() override;
  void finish_prepare() override;  // sets paddings, joins signs and the batch norms before them

 private:
  void fuse_sign(const QuantPoint& point) const;
  void check_padding(const std::string& layer, int value) const;

  const std::shared_ptr<SignBatch> signs_ = std::make_shared<SignBatch>();  // of the weights
};

}  // namespace halftone
