#include "quant/qat.h"

#include "quant/bias_quantize.h"

namespace halftone {

ConfigRules QatQuantizer::rules() const {
  ConfigRules rules;  // 2 to 16 bits, weight, input, output; NNI's default: uint, per-tensor affine
  rules.fold = true;
  rules.types.push_back(QuantType::kBias);
  return rules;
}

std::shared_ptr<FakeQuantize> QatQuantizer::make_fake_quantize(Module& module,
                                                               const FakeQuantizeArgs& args) const {
  if (args.type == QuantType::kBias) return make<BiasQuantize>(module.context(), args);
  return Quantizer::make_fake_quantize(module, args);
}

}  // namespace halftone
