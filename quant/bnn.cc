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
  return make<BinaryQuantize>(module.context(), args, dynamic_cast<WeightLayer&>(module).weight);
}

// Every layer is looked at before the first is changed.
void BnnQuantizer::prepare_paddings() {
  std::vector<std::pair<Conv2d*, float>> paddings;
  for (const QuantPoint& point : points()) {
    auto* conv = dynamic_cast<Conv2d*>(model().find(point.module));
    if (conv == nullptr || point.type != QuantType::kWeight) continue;
    const int value = point.quantizer->spec().bits > 1 ? 0 : point.quantizer->spec().padding_value;
    if (value != 0 && conv->args().padding > 0) check_padding(point.module, value);
    paddings.emplace_back(conv, static_cast<float>(value));
  }
  for (const auto& [conv, value] : paddings) conv->set_padding_value(value);
}

void BnnQuantizer::check_padding(const std::string& module, int value) const {
  for (const QuantPoint& point : points()) {
    if (point.module != module || point.type != QuantType::kInput || point.quantizer->is_sign())
      continue;
    throw HALFTONE_ERROR("config")
        .at("config_list, padding_value of " + module)
        .expected("0 where the input has " + std::to_string(point.quantizer->spec().bits) + " bits")
        .found(std::to_string(value))
        .fix("an entry of its own for " + module + ", without padding_value");
  }
}

void BnnQuantizer::prepare_points() {
  prepare_paddings();
  if (!graph().has_value()) return;
  for (const QuantPoint& point : points()) {
    if (point.type == QuantType::kWeight) continue;
    const QuantSpec& spec = point.quantizer->spec();
    if (spec.approx_sign || spec.stochastic) {
      warn("the " + name_of(point.type) + " of " + point.module + " has its signs from reals (" +
           (spec.stochastic ? "binarization stochastic" : "sign_gradient approx_sign") +
           "), not from integer sums: such a network cannot be deployed as integers");
    }
    if (sign_of(point) != ValueSign::kNonNegative) continue;
    warn("the " + name_of(point.type) + " of " + point.module +
         " is never negative, so all its signs are +1: put a Hardtanh where the ReLU is");
  }
}

}  // namespace halftone
