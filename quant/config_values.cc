#include "quant/config_values.h"

#include <nlohmann/json.hpp>

namespace halftone {
namespace {

using Json = nlohmann::json;

template <class T>
Json value_of(const T& value) {
  return value;
}

template <class T>
Json value_of(const ByType<T>& value) {
  return value.all ? Json(*value.all) : Json(value.each);
}

template <class T>
void put(Json& entry, const char* key, const std::optional<T>& value) {
  if (value) entry[key] = value_of(*value);
}

Json to_json(const ConfigValues& v) {
  Json entry = Json::object();
  put(entry, "quant_types", v.quant_types);
  put(entry, "op_types", v.op_types);
  put(entry, "op_names", v.op_names);
  put(entry, "quant_bits", v.quant_bits);
  put(entry, "first_layer_bits", v.first_layer_bits);
  put(entry, "last_layer_bits", v.last_layer_bits);
  put(entry, "axis", v.axis);
  put(entry, "quant_dtype", v.quant_dtype);
  put(entry, "quant_scheme", v.quant_scheme);
  put(entry, "exclude", v.exclude);
  put(entry, "quant_start_step", v.quant_start_step);
  put(entry, "fold", v.fold);
  put(entry, "bn_freeze_step", v.bn_freeze_step);
  put(entry, "ema_decay", v.ema_decay);
  put(entry, "observer", v.observer);
  put(entry, "percentile", v.percentile);
  put(entry, "reduce_range", v.reduce_range);
  put(entry, "binarization", v.binarization);
  put(entry, "sign_gradient", v.sign_gradient);
  put(entry, "xnor_scale", v.xnor_scale);
  put(entry, "padding_value", v.padding_value);
  return entry;
}

}  // namespace

ConfigList::ConfigList(const std::vector<ConfigValues>& entries) {
  Json list = Json::array();
  for (const ConfigValues& v : entries) list.push_back(to_json(v));
  json_ = list.dump();
}

}  // namespace halftone
