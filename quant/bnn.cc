#include "quant/bnn.h"

#include "quant/binary_quantize.h"
#include "quant/value_sign.h"

namespace halftone {

namespace {

// More than one bit: weights with a scale per channel, zero in the middle.
FakeQuantizeArgs with_range(FakeQuantizeArgs args) {
  args.spec.per_channel = args.type == QuantType::kWeight;
  args.spec.stochastic = args.spec.approx_sign = false;
  args.spec.padding_value = 0;
  return args;
}

}  // namespace

ConfigRules BnnQuantizer::rules() const {
  ConfigRules rules;
  rules.min_bits = 1, rules.max_bits = 8;
  rules.keys = {"binarization", "sign_gradient", "xnor_scale", "padding_value"};
  rules.defaults[QuantType::kWeight].is_signed = rules.defaults[QuantType::kWeight].symmetric =
      true;
  return rules;
}

std::shared_ptr<FakeQuantize> BnnQuantizer::make_fake_quantize(Module& module,
                                                               const FakeQuantizeArgs& args) const {
  if (args.spec.bits > 1) return Quantizer::make_fake_quantize(module, with_range(args));
  if (args.type != QuantType::kWeight) return make<BinaryQuantize>(module.context(), args);
  if (auto* conv = dynamic_cast<Conv2d*>(&module))
    conv->set_padding_value(static_cast<float>(args.spec.padding_value));
  return make<BinaryQuantize>(module.context(), args, dynamic_cast<WeightLayer&>(module).weight);
}

void BnnQuantizer::prepare_points() {
  if (!graph().has_value()) return;
  for (const QuantPoint& point : points()) {
    if (point.type == QuantType::kWeight) continue;
    if (sign_of(point) != ValueSign::kNonNegative) continue;
    warn("the " + name_of(point.type) + " of " + point.module +
         " is never negative, so all its signs are +1: put a Hardtanh where the ReLU is");
  }
}

}  // namespace halftone
