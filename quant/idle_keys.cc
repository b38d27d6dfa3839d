// Quantizer: what of config_list has no effect in this model.
#include <algorithm>
#include <set>

#include "quant/quantizer.h"

namespace halftone {

const ConfigEntry* Quantizer::entry_of(const std::string& path) const {
  const Module* module = path.empty() ? nullptr : model_.find(path);
  return module == nullptr ? nullptr : config_.select(path, module->type_name());
}

std::string Quantizer::number_of(const ConfigEntry& entry) const {
  return "config_list entry " + std::to_string(&entry - config_.entries.data() + 1);
}

std::string Quantizer::entry_number(const std::string& layer) const {
  const ConfigEntry* entry = entry_of(layer);
  return entry == nullptr ? "config_list" : number_of(*entry);
}

void Quantizer::warn_of_idle_layer_bits(const ConfigEntry& entry) {
  const auto [first, last] = outer_layers();
  const auto check = [&](const char* key, const char* which, const std::string& path) {
    if (entry.keys.count(key) == 0 || entry_of(path) == &entry) return;
    warn(number_of(entry) + ", " + key + ": no effect, the " + which + " layer " + path +
         " is not one of its own");
  };
  check("first_layer_bits", "first", first);
  check("last_layer_bits", "last", last);
}

// norms: layers with a quantized weight and a batch norm that a fold could take.
void Quantizer::warn_of_idle_fold(const ConfigEntry& entry, const std::set<std::string>& norms) {
  const bool used = std::any_of(norms.begin(), norms.end(),
                                [&](const std::string& path) { return entry_of(path) == &entry; });
  if (used) return;
  for (const char* key : {"fold", "bn_freeze_step"}) {
    if (entry.keys.count(key) == 0) continue;
    warn(number_of(entry) + ", " + key + ": no effect, " +
         (graph_ ? "no batch norm follows one of its quantized weights"
                 : "without a dummy input every batch norm stays apart"));
  }
}

void Quantizer::warn_of_idle_padding(const ConfigEntry& entry) {
  if (entry.keys.count("padding_value") == 0) return;
  for (const QuantPoint& p : points_) {
    const auto* conv = dynamic_cast<Conv2d*>(model_.find(p.module));
    const bool pads = conv != nullptr && conv->args().padding > 0;
    const bool binary = p.quantizer->spec().bits == 1;
    if (p.type == QuantType::kWeight && binary && pads && entry_of(p.module) == &entry) return;
  }
  warn(number_of(entry) +
       ", padding_value: no effect, none of its layers is a Conv2d with weights of one bit that "
       "pads");
}

void Quantizer::warn_of_idle_keys(const std::set<std::string>& norms) {
  std::set<const ConfigEntry*> taken;
  for (auto& [path, module] : model_.named_modules()) {
    if (!path.empty()) taken.insert(config_.last_match(path, module->type_name()));
  }
  for (const ConfigEntry& entry : config_.entries) {
    const bool told = std::any_of(warnings_.begin(), warnings_.end(), [&](const std::string& w) {
      return w.rfind(number_of(entry) + ",", 0) == 0;
    });
    if (taken.count(&entry) == 0) {
      if (!told) warn(number_of(entry) + ": no effect, it matches no layer that later ones leave");
      continue;
    }
    if (entry.exclude) continue;
    warn_of_idle_layer_bits(entry);
    warn_of_idle_fold(entry, norms);
    warn_of_idle_padding(entry);
  }
}

}  // namespace halftone
