// Learned step sizes: LSQ and LSQ+.
#pragma once

#include "quant/quantizer.h"

namespace halftone {

// LSQ (Esser et al. 2020, "Learned Step Size Quantization", arXiv:1902.08153): the scale of every
// quantizer is a parameter (equations 1 to 3, gradient scale of section 2.2; see LsqQuantize).
// First scales come from the weights in compress(), and from the first training batch, or from the
// last step of a float warm-up. Weights are signed; inputs and outputs unsigned where the graph
// shows them non-negative (ReLU, pooling of it, ...), else signed; where it cannot tell, and
// without a dummy input, the first batch decides. quant_dtype overrides. Weights per tensor or per
// channel, activations per tensor; schemes are symmetric, z = 0. Scales have an optimizer group of
// their own, without weight decay, options.scale_lr times the learning rate. Edges that meet in an
// Add or Concat with a quantized output share one learned scale, without an offset (scale_group.h).
// First scales of weights come from what is quantized: the raw weight, or, under fold batch, ema
// and nni, the folded one.
// NNI's bugs that are not here: frozen weights (Q1), ranges that an evaluation initialises (Q4),
// scales that become negative (Q5). compat nni: signed activations, N with the batch, edges inside.
class LsqQuantizer : public Quantizer {
 public:
  using Quantizer::Quantizer;
  std::string name() const override { return "LsqQuantizer"; }

 protected:
  ConfigRules rules() const override;
  std::shared_ptr<FakeQuantize> make_fake_quantize(Module& module,
                                                   const FakeQuantizeArgs& args) const override;
  QuantSpec spec_in_group(QuantSpec spec, bool non_negative) const override;
  void prepare_points() override;
  void prepare_optimizer(Optimizer& optimizer) override;
  virtual bool learns_offsets() const { return false; }

 private:
  void start_weight(const QuantPoint& point, FakeQuantize& q) const;
};

// LSQ+ (Bhalgat et al. 2020, arXiv:2004.09576): activations have a learned offset too; its zero
// point is rounded, so that the layer deploys. Affine activations are the default, symmetric ones
// have no offset. First scales: of weights from mean +- 3 deviations, of activations the smallest
// squared error over the first batch (section 3.2).
class LsqPlusQuantizer : public LsqQuantizer {
 public:
  using LsqQuantizer::LsqQuantizer;
  std::string name() const override { return "LsqPlusQuantizer"; }

 protected:
  ConfigRules rules() const override;
  bool learns_offsets() const override { return true; }
};

}  // namespace halftone
