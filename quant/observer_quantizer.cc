#include "quant/observer_quantizer.h"

#include <algorithm>

#include "kernels/elementwise.h"
#include "quant/observer_quantize.h"

namespace halftone {
namespace {

void check_spec(const Module& module, const FakeQuantizeArgs& args) {
  const QuantSpec& spec = args.spec;
  if (spec.start_step > 1) {
    throw HALFTONE_ERROR("config")
        .at(module.path())
        .expected(
            "no quant_start_step and no float_epochs: ObserverQuantizer quantizes after training")
        .found(std::to_string(spec.start_step))
        .fix("take them out");
  }
  const bool per_channel = spec.observer == ObserverKind::kMinMax ||
                           spec.observer == ObserverKind::kEma || args.type == QuantType::kWeight;
  if (per_channel || !spec.per_channel) return;
  throw HALFTONE_ERROR("config")
      .at(module.path())
      .expected("a per-tensor quant_scheme for " + name_of(args.type) + " with observer " +
                name_of(spec.observer))
      .found(spec.str())
      .fix("observer min_max and ema have ranges per channel");
}

}  // namespace

ObserverQuantizer::ObserverQuantizer(Module& model, ConfigList config_list, Optimizer* optimizer,
                                     Tensor dummy_input, const QuantizerOptions& options)
    : Quantizer(model, std::move(config_list), optimizer, std::move(dummy_input), options) {
  if (model.training()) {
    throw HALFTONE_ERROR("ObserverQuantizer")
        .expected("a trained model in evaluation mode")
        .found("one in training mode")
        .fix("call model.eval() first");
  }
  prepare();
}

ConfigRules ObserverQuantizer::rules() const {
  ConfigRules rules;
  rules.keys.insert(rules.keys.end(), {"percentile", "reduce_range"});
  rules.start_step = false;
  rules.observers = {ObserverKind::kHistogram, ObserverKind::kPercentile, ObserverKind::kKl,
                     ObserverKind::kMinMax, ObserverKind::kEma};
  for (const QuantType type : rules.types) {
    QuantSpec& spec = rules.defaults[type];
    spec.observer = ObserverKind::kHistogram;
    if (type == QuantType::kWeight) spec.is_signed = spec.symmetric = true;
  }
  return rules;
}

std::shared_ptr<FakeQuantize> ObserverQuantizer::make_fake_quantize(
    Module& module, const FakeQuantizeArgs& args) const {
  check_spec(module, args);
  FakeQuantizeArgs own = args;
  const bool weight = args.type == QuantType::kWeight;
  if (weight) own.spec.observer = ObserverKind::kMinMax;
  own.spec.reduce_range = !weight && (args.spec.reduce_range || args.spec.nni);
  return make<ObserverQuantize>(module.context(), own);
}

// What has no range says so, before another weight has one.
void ObserverQuantizer::check_weight(const QuantPoint& point) const {
  const Tensor weight = weight_of(point);
  if (!kernels::all_finite(weight)) point.quantizer->observe_values(weight);
}

// All are asked before the first changes. Layers on the two sides of an edge share a quantizer.
void ObserverQuantizer::convert() {
  std::vector<ObserverQuantize*> activations;
  for (const QuantPoint& point : points()) {
    if (point.type == QuantType::kWeight && !point.quantizer->initialised()) check_weight(point);
  }
  for (const QuantPoint& point : points()) {
    auto& quantizer = dynamic_cast<ObserverQuantize&>(*point.quantizer);
    if (point.type == QuantType::kWeight || quantizer.initialised()) continue;
    quantizer.check_calibrated();
    activations.push_back(&quantizer);
  }
  for (const QuantPoint& point : points()) {
    if (point.type == QuantType::kWeight && !point.quantizer->initialised())
      point.quantizer->observe_values(weight_of(point));
  }
  for (ObserverQuantize* quantizer : activations) quantizer->fix();
}

bool ObserverQuantizer::can_prepare_anew() const {
  return std::none_of(points().begin(), points().end(), [](const QuantPoint& point) {
    const auto& quantizer = dynamic_cast<const ObserverQuantize&>(*point.quantizer);
    return quantizer.batches() > 0 || quantizer.is_fixed();
  });
}

void ObserverQuantizer::check_exportable() const {
  for (const QuantPoint& point : points()) {
    if (point.quantizer->initialised()) continue;
    throw HALFTONE_ERROR("export_model")
        .at(point.module + ", " + name_of(point.type))
        .expected("fixed scales")
        .found("a network that still records")
        .fix("calibrate, then compress()");
  }
}

}  // namespace halftone
