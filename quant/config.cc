#include "quant/config.h"

#include <fnmatch.h>

#include <algorithm>

#include "quant/config_reader.h"
#include "tensor/nearest.h"

namespace halftone {
namespace {

// NNI's list for "default": every layer with a weight.
const std::vector<std::string>& default_types() {
  static const std::vector<std::string> kTypes = {
      "Conv1d", "Conv2d",   "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
      "Linear", "Bilinear", "PReLU",  "Embedding",       "EmbeddingBag"};
  return kTypes;
}

bool is_pattern(const std::string& name) { return name.find_first_of("*?[") != std::string::npos; }

bool contains(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool type_matches(const ConfigEntry& entry, const std::string& type) {
  if (!entry.has_op_types || contains(entry.op_types, type)) return true;
  return contains(entry.op_types, "default") && contains(default_types(), type);
}

bool name_matches(const ConfigEntry& entry, const std::string& name) {
  if (!entry.has_op_names) return true;
  return std::any_of(entry.op_names.begin(), entry.op_names.end(), [&](const std::string& wanted) {
    return is_pattern(wanted) ? fnmatch(wanted.c_str(), name.c_str(), 0) == 0 : wanted == name;
  });
}

std::string nearest_hint(const std::string& word, const std::vector<std::string>& all) {
  const std::string near = nearest_name(word, all);
  return near.empty() ? "" : " (did you mean \"" + near + "\"?)";
}

void warn_of_strangers(const ConfigEntry& entry, size_t number, const LayerList& layers,
                       std::vector<std::string>& warnings) {
  const std::string prefix = "config_list entry " + std::to_string(number) + ", ";
  std::vector<std::string> names, types = {"default"};
  for (const auto& [name, type] : layers) {
    names.push_back(name);
    types.push_back(type);
  }
  for (const std::string& wanted : entry.op_names) {
    const bool found = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return is_pattern(wanted) ? fnmatch(wanted.c_str(), name.c_str(), 0) == 0 : wanted == name;
    });
    if (!found) {
      warnings.push_back(prefix + "op_names: no layer is named \"" + wanted + "\"" +
                         nearest_hint(wanted, names));
    }
  }
  for (const std::string& wanted : entry.op_types) {
    if (contains(types, wanted)) continue;
    warnings.push_back(prefix + "op_types: the model has no " + wanted +
                       nearest_hint(wanted, types));
  }
}

}  // namespace

const ConfigEntry* QuantConfig::last_match(const std::string& name, const std::string& type) const {
  const auto found = std::find_if(entries.rbegin(), entries.rend(), [&](const ConfigEntry& e) {
    return type_matches(e, type) && name_matches(e, name);
  });
  return found == entries.rend() ? nullptr : &*found;
}

const ConfigEntry* QuantConfig::select(const std::string& name, const std::string& type) const {
  const ConfigEntry* entry = last_match(name, type);
  return entry == nullptr || entry->exclude ? nullptr : entry;
}

QuantConfig parse_config(const ConfigList& list, const ConfigRules& rules,
                         const LayerList& layers) {
  QuantConfig config;
  config.entries = read_config(list.json(), rules);
  for (size_t i = 0; i < config.entries.size(); ++i) {
    warn_of_strangers(config.entries[i], i + 1, layers, config.warnings);
  }
  return config;
}

}  // namespace halftone
