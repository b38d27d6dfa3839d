#include "quant/bnn.h"

#include <algorithm>

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
  rules.nni = false;
  rules.keys = {"binarization", "sign_gradient", "xnor_scale", "padding_value"};
  rules.defaults[QuantType::kWeight].is_signed = rules.defaults[QuantType::kWeight].symmetric =
      true;
  return rules;
}

std::shared_ptr<FakeQuantize> BnnQuantizer::make_fake_quantize(Module& module,
                                                               const FakeQuantizeArgs& args) const {
  if (args.spec.bits > 1) return Quantizer::make_fake_quantize(module, with_range(args));
  if (args.type != QuantType::kWeight) return make<BinaryQuantize>(module.context(), args);
  auto weight =
      make<BinaryQuantize>(module.context(), args, dynamic_cast<WeightLayer&>(module).weight);
  weight->join(signs_);
  signs_->join(weight);
  return weight;
}

// Every layer is looked at before the first is changed.
void BnnQuantizer::finish_prepare() {
  std::vector<std::pair<Conv2d*, float>> paddings;
  for (const QuantPoint& point : points()) {
    auto* conv = dynamic_cast<Conv2d*>(model().find(point.module));
    if (conv == nullptr || point.type != QuantType::kWeight) continue;
    const int value = point.quantizer->spec().bits > 1 ? 0 : point.quantizer->spec().padding_value;
    if (value != 0 && conv->args().padding > 0) check_padding(point.module, value);
    paddings.emplace_back(conv, static_cast<float>(value));
  }
  for (const auto& [conv, value] : paddings) conv->set_padding_value(value);
  if (!graph().has_value()) return;
  for (const QuantPoint& point : points()) fuse_sign(point);
}

// Batch norm - Hardtanh - sign, without other consumers in between.
void BnnQuantizer::fuse_sign(const QuantPoint& point) const {
  auto* sign = dynamic_cast<BinaryQuantize*>(point.quantizer.get());
  int node = graph()->only_node(point.place);
  if (sign == nullptr || point.type == QuantType::kWeight || node < 0) return;
  const auto before = [&](int at) {
    const int found = graph()->producer(graph()->nodes()[at].inputs.at(0));
    return found >= 0 && graph()->only_consumer(found) == at ? found : -1;
  };
  if (!point.behind_place()) node = before(node);
  if (node < 0 || (node = before(node)) < 0) return;
  auto* norm = dynamic_cast<BatchNorm*>(model().find(graph()->nodes()[node].module_path));
  if (norm != nullptr) norm->fused_sign = sign->fused_sign();
}

// What surrounds signs is a sign: other codes do not hold it exactly.
void BnnQuantizer::check_padding(const std::string& layer, int value) const {
  const auto own = std::find_if(points().begin(), points().end(), [&](const QuantPoint& p) {
    return p.module == layer && p.type == QuantType::kInput;
  });
  const bool has_own = own != points().end();
  const auto input = has_own ? own->quantizer : codes_before(layer);
  if (input == nullptr || input->is_sign()) return;
  const std::string bits = std::to_string(input->spec().bits) + " bits";
  throw HALFTONE_ERROR("config")
      .at(entry_number(layer) + ", padding_value of " + layer)
      .expected(has_own
                    ? "0 where the input has " + bits
                    : "0 where the output quantizer before it, " + input->path() + ", has " + bits)
      .found(std::to_string(value))
      .fix(has_own ? "an entry of its own for " + layer + ", without padding_value"
                   : "quantize the input of " + layer + " with 1 bit, or take padding_value out");
}

void BnnQuantizer::prepare_points() {
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
