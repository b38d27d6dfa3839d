#include "quant/config_effect.h"

#include <algorithm>

#include "quant/config_field.h"
#include "tensor/nearest.h"

namespace halftone {
namespace {

using Json = nlohmann::json;
using Specs = std::map<QuantType, QuantSpec>;

std::vector<std::string> known_keys(const ConfigRules& rules) {
  std::vector<std::string> keys = {"quant_types",     "quant_bits", "first_layer_bits",
                                   "last_layer_bits", "op_types",   "op_names",
                                   "exclude"};
  if (rules.start_step) keys.emplace_back("quant_start_step");
  keys.insert(keys.end(), rules.keys.begin(), rules.keys.end());
  if (rules.fold) keys.insert(keys.end(), {"fold", "bn_freeze_step"});
  return keys;
}

// Which quantizers have a key that not all have; "" for no such key.
std::string owners_of(const std::string& key) {
  static const std::map<std::string, std::string> kOwners = {
      {"quant_start_step", "every quantizer but ObserverQuantizer"},
      {"quant_dtype", "every quantizer but DoReFaQuantizer and BNNQuantizer"},
      {"quant_scheme", "every quantizer but DoReFaQuantizer and BNNQuantizer"},
      {"axis", "every quantizer but DoReFaQuantizer and BNNQuantizer"},
      {"observer", "QAT_Quantizer, NaiveQuantizer and ObserverQuantizer"},
      {"ema_decay", "QAT_Quantizer and ObserverQuantizer"},
      {"percentile", "ObserverQuantizer"},
      {"reduce_range", "ObserverQuantizer"},
      {"fold", "QAT_Quantizer, LsqQuantizer and LsqPlusQuantizer"},
      {"bn_freeze_step", "QAT_Quantizer, LsqQuantizer and LsqPlusQuantizer"},
      {"binarization", "BNNQuantizer"},
      {"sign_gradient", "BNNQuantizer"},
      {"xnor_scale", "BNNQuantizer"},
      {"padding_value", "BNNQuantizer"}};
  const auto found = kOwners.find(key);
  return found == kOwners.end() ? "" : found->second;
}

template <class Is>
bool any_activation(const Specs& specs, Is is) {
  return std::any_of(specs.begin(), specs.end(), [&](const auto& s) {
    return (s.first == QuantType::kInput || s.first == QuantType::kOutput) && is(s.second);
  });
}

template <class Is>
bool any_tensor(const Specs& specs, Is is) {
  return std::any_of(specs.begin(), specs.end(),
                     [&](const auto& s) { return s.first != QuantType::kBias && is(s.second); });
}

// By type: the one that has a value and does not use it; null where there is none.
const Json* idle_part(const Json& value, const Specs& specs, bool (*uses)(const QuantSpec&),
                      std::string& type) {
  if (!value.is_object()) return nullptr;
  for (const auto& [t, spec] : specs) {
    type = name_of(t);
    if (value.contains(type) && !uses(spec)) return &value[type];
  }
  return nullptr;
}

void check_axis(const ConfigField& f, const Specs& specs) {
  const auto per_channel = [](const QuantSpec& s) { return s.per_channel; };
  const std::string allowed = "a per-channel quant_scheme beside it",
                    fix = "take axis out, or choose per_channel_symmetric or per_channel_affine";
  std::string type;
  const Json* idle = idle_part(f.value, specs, per_channel, type);
  if (idle != nullptr) ConfigField{f.entry, "axis." + type, *idle}.fail(allowed, fix);
  if (!any_tensor(specs, per_channel)) f.fail(allowed, fix);
}

// A weight's range is known at any time: nothing chooses it.
void check_observer(const ConfigField& f, const Specs& specs) {
  const bool idle = f.value.is_string() && f.value != "min_max" &&
                    !any_activation(specs, [](const QuantSpec&) { return true; });
  if (idle) {
    f.fail("\"min_max\" where quant_types has neither input nor output",
           "take it out: weights follow their current range");
  }
}

void check_observer_key(const ConfigField& f, ObserverKind kind, const Specs& specs) {
  if (any_activation(specs, [kind](const QuantSpec& s) { return s.observer == kind; })) return;
  const std::string name = "\"" + name_of(kind) + "\"";
  f.fail("observer " + name + " for input or output beside it",
         "take " + f.key + " out, or choose observer " + name);
}

void check_reduce_range(const ConfigField& f, const Specs& specs) {
  if (!any_activation(specs, [](const QuantSpec&) { return true; }))
    f.fail("input or output among quant_types: weights keep their range", "take it out");
  const auto narrow = [](const QuantSpec& s) {
    const auto small = [](int bits) { return bits > 0 && bits < 3; };
    return s.reduce_range && (small(s.bits) || small(s.first_bits) || small(s.last_bits));
  };
  if (any_activation(specs, narrow)) f.fail("at least 3 bits to take one from", "take it out");
}

void check_freeze(const ConfigField& f, const Specs& specs) {
  const QuantSpec& weight = specs.at(QuantType::kWeight);
  const bool idle = weight.fold == FoldMode::kNone || weight.fold == FoldMode::kNni;
  if (idle && weight.bn_freeze_step > 0) {
    f.fail("fold \"scale\", \"batch\" or \"ema\" beside it: \"" + name_of(weight.fold) +
               "\" freezes nothing",
           "take it out, or choose another fold");
  }
}

bool is_binary(const QuantSpec& s) { return s.bits == 1 || s.first_bits == 1 || s.last_bits == 1; }

// Keys of binary tensors: `type` one of those that they are about.
void check_binary(const ConfigField& f, const Specs& specs, bool (*about)(QuantType)) {
  const std::string allowed = "quant_bits 1 beside it", fix = "take " + f.key + " out";
  std::string type;
  const Json* idle = idle_part(f.value, specs, is_binary, type);
  if (idle != nullptr) ConfigField{f.entry, f.key + "." + type, *idle}.fail(allowed, fix);
  const bool any = std::any_of(specs.begin(), specs.end(), [&](const auto& s) {
    return about(s.first) && is_binary(s.second);
  });
  if (!any) f.fail(allowed, fix);
}

bool is_weight(QuantType type) { return type == QuantType::kWeight; }
bool is_activation(QuantType type) { return type != QuantType::kWeight; }

// Nothing is quantized: a choice of how would be forgotten.
void check_exclude(const Json& item, size_t number) {
  for (const auto& [key, value] : item.items()) {
    if (key == "op_types" || key == "op_names" || key == "exclude") continue;
    ConfigField{number, key, value}.fail("op_types and op_names alone beside exclude: true",
                                         "take " + key + " out, or exclude");
  }
}

}  // namespace

void check_keys(const Json& item, size_t number, const ConfigRules& rules) {
  const std::vector<std::string> known = known_keys(rules);
  for (const auto& [key, value] : item.items()) {
    if (std::count(known.begin(), known.end(), key) > 0) continue;
    const std::string owners = owners_of(key), near = nearest_name(key, known);
    std::string all;
    for (const std::string& k : known) all += (all.empty() ? "" : ", ") + k;
    throw HALFTONE_ERROR("config")
        .at("config_list entry " + std::to_string(number))
        .what_happened((owners.empty() ? "unknown key \"" : "this quantizer has no key \"") + key +
                       "\" (value " + value.dump() + "); allowed are " + all)
        .fix(!owners.empty() ? "take it out: it is a key of " + owners
             : near.empty()  ? "take it out"
                             : "did you mean \"" + near + "\"?");
  }
}

void check_effect(const Json& item, size_t number, const Specs& specs) {
  if (item.contains("exclude") && item["exclude"] == true) return check_exclude(item, number);
  for (const auto& [key, value] : item.items()) {
    const ConfigField f{number, key, value};
    if (key == "axis") check_axis(f, specs);
    if (key == "observer") check_observer(f, specs);
    if (key == "ema_decay") check_observer_key(f, ObserverKind::kEma, specs);
    if (key == "percentile") check_observer_key(f, ObserverKind::kPercentile, specs);
    if (key == "reduce_range") check_reduce_range(f, specs);
    if (key == "bn_freeze_step") check_freeze(f, specs);
    if (key == "binarization") check_binary(f, specs, [](QuantType) { return true; });
    if (key == "sign_gradient") check_binary(f, specs, is_activation);
    if (key == "xnor_scale" || key == "padding_value") check_binary(f, specs, is_weight);
  }
}

}  // namespace halftone
