#include "quant/config_reader.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "quant/config_effect.h"
#include "quant/config_keys.h"

namespace halftone {
namespace {

using Json = nlohmann::json;
using Field = ConfigField;

std::vector<std::string> read_strings(const Field& f) {
  const bool good = f.value.is_array() && std::all_of(f.value.begin(), f.value.end(),
                                                      [](const Json& v) { return v.is_string(); });
  if (!good) {
    const bool scalars =
        f.value.is_array() && std::none_of(f.value.begin(), f.value.end(),
                                           [](const Json& v) { return v.is_structured(); });
    f.fail("a list of strings", scalars ? "quote numbers: [\"0\"]" : "");
  }
  return f.value.get<std::vector<std::string>>();
}

// A bias is int32, in steps of its input's times its weight's: nothing of it can be chosen.
void settle_bias(const Json& item, size_t number, std::map<QuantType, QuantSpec>& specs) {
  const auto bias = specs.find(QuantType::kBias);
  if (bias == specs.end()) return;
  for (const char* key :
       {"quant_dtype", "quant_scheme", "axis", "observer", "first_layer_bits", "last_layer_bits"}) {
    if (item.contains(key) && item[key].is_object() && item[key].contains("bias"))
      Field{number, std::string(key) + ".bias", item[key]["bias"]}.fail("no such key: it is int32");
  }
  QuantSpec fixed;
  fixed.bits = 32;
  fixed.is_signed = fixed.symmetric = fixed.per_channel = true;
  fixed.start_step = bias->second.start_step;
  bias->second = fixed;
}

[[noreturn]] void fail_entry(size_t number, const std::string& text, const std::string& fix) {
  throw HALFTONE_ERROR("config")
      .at("config_list entry " + std::to_string(number))
      .what_happened(text)
      .fix(fix);
}

void check_names(const Field& f, const std::vector<std::string>& names) {
  if (names.empty()) f.fail("at least one name", "take the key out, or name layers");
}

void read_layers(const Json& item, size_t number, ConfigEntry& entry) {
  entry.has_op_types = item.contains("op_types");
  entry.has_op_names = item.contains("op_names");
  if (!entry.has_op_types && !entry.has_op_names) {
    fail_entry(number, "neither op_types nor op_names", "say which layers the entry is about");
  }
  const auto read = [&](const char* key, std::vector<std::string>& names) {
    if (!item.contains(key)) return;
    const Field f{number, key, item[key]};
    names = read_strings(f);
    check_names(f, names);
  };
  read("op_types", entry.op_types);
  read("op_names", entry.op_names);
}

ConfigEntry read_entry(const Json& item, size_t number, const ConfigRules& rules) {
  if (!item.is_object())
    fail_entry(number, "an entry is an object of keys and values, not " + item.dump(), "");
  check_keys(item, number, rules);
  ConfigEntry entry;
  read_layers(item, number, entry);
  if (item.contains("exclude")) entry.exclude = truth_of({number, "exclude", item["exclude"]});
  if (entry.exclude) {
    check_effect(item, number, {});
    return entry;
  }
  if (!item.contains("quant_types") || !item.contains("quant_bits")) {
    fail_entry(number,
               item.contains("quant_types") ? "quant_bits is missing" : "quant_types is missing",
               "give quant_types and quant_bits, or exclude: true");
  }
  entry.specs = base_specs({number, "quant_types", item["quant_types"]}, rules);
  if (entry.specs.empty()) {
    fail_entry(number, "quant_types is empty", "to leave layers alone, say exclude: true");
  }
  for (const auto& [key, value] : item.items()) {
    read_spec_key({number, key, value}, rules, entry.specs);
    entry.keys.insert(key);
  }
  settle_bias(item, number, entry.specs);
  check_effect(item, number, entry.specs);
  return entry;
}

// Refuses an object that says a key twice, of which the parser would keep the last.
Json::parser_callback_t each_key_once() {
  auto keys = std::make_shared<std::vector<std::set<std::string>>>();
  auto entry = std::make_shared<int>(0);  // elements of the list begun so far
  return [keys, entry](int depth, Json::parse_event_t event, Json& value) {
    const bool begins = event == Json::parse_event_t::object_start ||
                        event == Json::parse_event_t::array_start ||
                        event == Json::parse_event_t::value;
    *entry += begins && depth == 1 ? 1 : 0;
    if (event == Json::parse_event_t::object_start) keys->emplace_back();
    if (event == Json::parse_event_t::object_end) keys->pop_back();
    if (event == Json::parse_event_t::key &&
        !keys->back().insert(value.get<std::string>()).second) {
      throw HALFTONE_ERROR("config")
          .at("config_list entry " + std::to_string(*entry))
          .expected("each key once")
          .found(value.dump() + " again");
    }
    return true;
  };
}

Json parse_json(const std::string& text) {
  try {
    return Json::parse(text, each_key_once());
  } catch (const Json::parse_error& e) {
    const size_t before = std::min(e.byte == 0 ? 0 : e.byte - 1, text.size());
    const auto at = text.begin() + static_cast<int64_t>(before);
    throw HALFTONE_ERROR("config")
        .at("config_list, line " + std::to_string(1 + std::count(text.begin(), at, '\n')))
        .expected("a JSON list of entries")
        .found("text that is not JSON, from character " + std::to_string(e.byte));
  } catch (const Json::exception& e) {  // a number that no double holds
    throw HALFTONE_ERROR("config")
        .at("config_list")
        .expected("a JSON list of entries")
        .found(e.what());
  }
}

}  // namespace

std::vector<ConfigEntry> read_config(const std::string& json, const ConfigRules& rules) {
  const Json list = parse_json(json);
  if (!list.is_array()) {
    throw HALFTONE_ERROR("config")
        .at("config_list")
        .expected("a JSON list of entries")
        .found(list.dump());
  }
  std::vector<ConfigEntry> entries;
  for (size_t i = 0; i < list.size(); ++i) entries.push_back(read_entry(list[i], i + 1, rules));
  return entries;
}

}  // namespace halftone
