#include "quant/dorefa.h"

#include "quant/dorefa_quantize.h"

namespace halftone {

ConfigRules DorefaQuantizer::rules() const {
  ConfigRules rules;
  rules.types = {QuantType::kWeight, QuantType::kInput, QuantType::kOutput, QuantType::kGradient};
  rules.min_bits = 1;
  rules.keys = {};
  rules.nni = false;
  rules.defaults[QuantType::kWeight].is_signed = rules.defaults[QuantType::kWeight].symmetric =
      true;
  return rules;
}

std::shared_ptr<FakeQuantize> DorefaQuantizer::make_fake_quantize(
    Module& module, const FakeQuantizeArgs& args) const {
  if (args.type == QuantType::kGradient) return make<DorefaGradient>(module.context(), args);
  Variable weight;
  if (args.type == QuantType::kWeight) weight = dynamic_cast<WeightLayer&>(module).weight;
  return make<DorefaQuantize>(module.context(), args, weight);
}

}  // namespace halftone
