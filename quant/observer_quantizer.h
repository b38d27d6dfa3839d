// Post-training quantization.
#pragma once

#include "quant/quantizer.h"

namespace halftone {

// NNI's ObserverQuantizer: quantizes a trained network from a few batches of data, without
// training.
//     model.eval();
//     ObserverQuantizer quantizer(model, config_list, nullptr, dummy_input);  // observers go in
//     for (const Batch& batch : ...) model(batch.images);                     // they record
//     quantizer.compress();                                                   // scales are fixed
// Until compress() nothing is quantized, and only forwards in evaluation mode are recorded. From
// then on model(x) is the quantized network, integer chains included (in NNI its weights are the
// float ones again after the first forward: its bug O1). It can be trained on with the scales as
// they are. Inputs and outputs: observer "histogram" (the default), "percentile", "kl", "min_max"
// or "ema", uint affine; reduce_range uses one bit less. Weights: their own range, s = max|w| /
// 127, int symmetric per tensor by default. QuantizerOptions::nni: NNI's 7-bit activations, and
// weights divided by 127.5.
class ObserverQuantizer final : public Quantizer {
 public:
  // Prepares at once. Throws for a model in training mode.
  ObserverQuantizer(Module& model, ConfigList config_list, Optimizer* optimizer = nullptr,
                    Tensor dummy_input = {}, const QuantizerOptions& options = {});
  std::string name() const override { return "ObserverQuantizer"; }
  ConfigRules rules() const override;
  bool needs_training() const override { return false; }
  bool needs_calibration() const override { return true; }

 protected:
  std::shared_ptr<FakeQuantize> make_fake_quantize(Module& module,
                                                   const FakeQuantizeArgs& args) const override;
  void convert() override;
  bool can_prepare_anew() const override;  // nothing is recorded, nor loaded
  void check_exportable() const override;

 private:
  void check_weight(const QuantPoint& point) const;
};

}  // namespace halftone
