#include "quant/config_keys.h"

#include <algorithm>
#include <cmath>

#include "tensor/nearest.h"

namespace halftone {
namespace {

using Json = nlohmann::json;
using Field = ConfigField;

const std::map<std::string, QuantType>& types_by_name() {
  static const std::map<std::string, QuantType> kTypes = {{"weight", QuantType::kWeight},
                                                          {"input", QuantType::kInput},
                                                          {"output", QuantType::kOutput},
                                                          {"gradient", QuantType::kGradient},
                                                          {"bias", QuantType::kBias}};
  return kTypes;
}

std::string allowed_types(const ConfigRules& rules) {
  std::string text = "a list out of";
  for (size_t i = 0; i < rules.types.size(); ++i)
    text += (i == 0 ? " " : ", ") + name_of(rules.types[i]);
  return text;
}

// "did you mean ...?", or "" where no name is near.
std::string nearest_of(const std::string& word, const std::vector<std::string>& names) {
  const std::string near = nearest_name(word, names);
  return near.empty() ? "" : "did you mean \"" + near + "\"?";
}

std::string nearest_type(const Json& word, const ConfigRules& rules) {
  if (!word.is_string()) return "";
  std::vector<std::string> names;
  for (const QuantType t : rules.types) names.push_back(name_of(t));
  return nearest_of(word.get<std::string>(), names);
}

std::vector<QuantType> read_types(const Field& f, const ConfigRules& rules) {
  if (!f.value.is_array()) f.fail(allowed_types(rules));
  std::vector<QuantType> types;
  for (const Json& item : f.value) {
    const auto found =
        item.is_string() ? types_by_name().find(item.get<std::string>()) : types_by_name().end();
    const bool known = found != types_by_name().end() &&
                       std::count(rules.types.begin(), rules.types.end(), found->second) > 0;
    if (!known) f.fail(allowed_types(rules), nearest_type(item, rules));
    types.push_back(found->second);
  }
  return types;
}

// A value for all types, or an object of values by type. apply(field, spec) writes one.
template <class Apply>
void by_type(const Field& f, const ConfigRules& rules, bool needs_all,
             std::map<QuantType, QuantSpec>& specs, Apply apply) {
  if (!f.value.is_object()) {
    for (auto& [type, spec] : specs) apply(f, spec);
    return;
  }
  for (const auto& [name, value] : f.value.items()) {
    const auto type = types_by_name().find(name);
    const bool known = type != types_by_name().end() &&
                       std::count(rules.types.begin(), rules.types.end(), type->second) > 0;
    if (!known)
      f.fail("a value, or an object whose keys come from" + allowed_types(rules).substr(13),
             nearest_type(name, rules));
    const Field part{f.entry, f.key + "." + name, value};
    const auto spec = specs.find(type->second);
    if (spec == specs.end())
      part.fail("only tensors that quant_types lists",
                "add \"" + name + "\" to quant_types, or take this key out");
    apply(part, spec->second);
  }
  for (const auto& [type, spec] : specs) {
    if (needs_all && !f.value.contains(name_of(type)))
      f.fail("a number for every one of quant_types, " + name_of(type) + " too");
  }
}

std::string word_of(const Field& f, const std::string& allowed) {
  if (!f.value.is_string()) f.fail(allowed);
  return f.value.get<std::string>();
}

int64_t whole_number(const Field& f, int64_t low, int64_t high) {
  const bool wraps = f.value.is_number_unsigned() && f.value.get<uint64_t>() > INT64_MAX;
  const bool good = f.value.is_number_integer() && !wraps && f.value.get<int64_t>() >= low &&
                    f.value.get<int64_t>() <= high;
  if (!good && low == high) f.fail(std::to_string(low));
  if (!good) f.fail("a whole number from " + std::to_string(low) + " to " + std::to_string(high));
  return f.value.get<int64_t>();
}

void read_observer(const Field& f, const ConfigRules& rules, QuantSpec& spec) {
  const bool weight = f.key == "observer.weight";  // its range is known exactly
  std::string allowed = "one of";
  for (const ObserverKind kind :
       weight ? std::vector<ObserverKind>{ObserverKind::kMinMax} : rules.observers)
    allowed += (allowed == "one of" ? " \"" : ", \"") + name_of(kind) + "\"";
  const std::string word = word_of(f, allowed);
  for (const ObserverKind kind : rules.observers) {
    if (name_of(kind) != word || (weight && kind != ObserverKind::kMinMax)) continue;
    spec.observer = kind;
    return;
  }
  for (const ObserverKind kind :
       {ObserverKind::kHistogram, ObserverKind::kPercentile, ObserverKind::kKl}) {
    if (!weight && name_of(kind) == word)
      f.fail(allowed, "ObserverQuantizer, which calibrates after training, has \"" + word + "\"");
  }
  std::vector<std::string> known;
  for (const ObserverKind kind : rules.observers) known.push_back(name_of(kind));
  f.fail(allowed, weight ? "" : nearest_of(word, known));
}

double number_between(const Field& f, double low, double high, const std::string& allowed) {
  const bool good =
      f.value.is_number() && f.value.get<double>() >= low && f.value.get<double>() < high;
  if (!good) f.fail(allowed);
  return f.value.get<double>();
}

// A number for all types leaves the bias its 32 bits.
int read_bits(const Field& f, const ConfigRules& rules) {
  if (f.key == "quant_bits.bias") return static_cast<int>(whole_number(f, 32, 32));
  return static_cast<int>(whole_number(f, rules.min_bits, rules.max_bits));
}

// True where the word is the second of the two.
bool read_choice(const Field& f, const std::string& first, const std::string& second) {
  const std::string allowed = "\"" + first + "\" or \"" + second + "\"";
  const std::string word = word_of(f, allowed);
  if (word != first && word != second) f.fail(allowed);
  return word == second;
}

QuantSpec& weight_spec(const Field& f, std::map<QuantType, QuantSpec>& specs) {
  const auto found = specs.find(QuantType::kWeight);
  if (found == specs.end()) f.fail("no such key where quant_types is without weight");
  return found->second;
}

void read_sign_gradient(const Field& f, ConfigRules rules, std::map<QuantType, QuantSpec>& specs) {
  rules.types = {QuantType::kInput, QuantType::kOutput};
  if (specs.count(QuantType::kInput) + specs.count(QuantType::kOutput) == 0)
    f.fail("no such key where quant_types is without input and output");
  by_type(f, rules, false, specs, [](const Field& p, QuantSpec& spec) {
    spec.approx_sign = read_choice(p, "straight_through", "approx_sign");
  });
}

// The keys of binary networks.
void read_binary_key(const Field& f, const ConfigRules& rules,
                     std::map<QuantType, QuantSpec>& specs) {
  if (f.key == "binarization") {
    by_type(f, rules, false, specs, [](const Field& p, QuantSpec& spec) {
      spec.stochastic = read_choice(p, "deterministic", "stochastic");
    });
  } else if (f.key == "sign_gradient") {
    read_sign_gradient(f, rules, specs);
  } else if (f.key == "xnor_scale") {
    weight_spec(f, specs).per_channel = truth_of(f);
  } else if (f.key == "padding_value") {
    weight_spec(f, specs).padding_value = static_cast<int>(whole_number(f, -1, 1));
  }
}

void read_fold(const Field& f, QuantSpec& spec) {
  const std::vector<std::string>& known = fold_mode_names();
  const std::string allowed = "\"scale\", \"batch\", \"ema\", \"nni\" or \"none\"";
  const std::string word = word_of(f, allowed);
  if (std::count(known.begin(), known.end(), word) == 0) f.fail(allowed);
  spec.fold = fold_mode_from(word);
}

}  // namespace

bool truth_of(const Field& f) {
  if (!f.value.is_boolean()) f.fail("true or false");
  return f.value.get<bool>();
}

void read_spec_key(const Field& f, const ConfigRules& rules,
                   std::map<QuantType, QuantSpec>& specs) {
  if (f.key == "quant_bits") {
    by_type(f, rules, true, specs,
            [&](const Field& p, QuantSpec& spec) { spec.bits = read_bits(p, rules); });
  } else if (f.key == "first_layer_bits") {
    by_type(f, rules, false, specs,
            [&](const Field& p, QuantSpec& spec) { spec.first_bits = read_bits(p, rules); });
  } else if (f.key == "last_layer_bits") {
    by_type(f, rules, false, specs,
            [&](const Field& p, QuantSpec& spec) { spec.last_bits = read_bits(p, rules); });
  } else if (f.key == "quant_dtype") {
    by_type(f, rules, false, specs, [](const Field& p, QuantSpec& spec) {
      set_dtype(word_of(p, "\"int\" or \"uint\""), p.where(), spec);
    });
  } else if (f.key == "quant_scheme") {
    by_type(f, rules, false, specs, [](const Field& p, QuantSpec& spec) {
      set_scheme(word_of(p, "the name of a scheme"), p.where(), spec);
    });
  } else if (f.key == "axis") {
    by_type(f, rules, false, specs, [](const Field& p, QuantSpec& spec) {
      spec.axis = static_cast<int>(whole_number(p, -6, 5));
    });
  } else if (f.key == "quant_start_step") {
    for (auto& [type, spec] : specs) spec.start_step = whole_number(f, 0, INT64_MAX);
  } else if (f.key == "fold") {
    read_fold(f, weight_spec(f, specs));
  } else if (f.key == "bn_freeze_step") {
    weight_spec(f, specs).bn_freeze_step = whole_number(f, 0, INT64_MAX);
  } else if (f.key == "observer") {
    by_type(f, rules, false, specs,
            [&](const Field& p, QuantSpec& spec) { read_observer(p, rules, spec); });
  } else if (f.key == "ema_decay") {
    const double decay = number_between(f, 0, 1, "a number in [0, 1)");
    for (auto& [type, spec] : specs) spec.ema_decay = decay;
  } else if (f.key == "percentile") {
    const double percentile =
        number_between(f, 50, std::nextafter(100, 101), "a number in [50, 100]");
    for (auto& [type, spec] : specs) spec.percentile = percentile;
  } else if (f.key == "reduce_range") {
    for (auto& [type, spec] : specs) spec.reduce_range = truth_of(f);
  } else {
    read_binary_key(f, rules, specs);
  }
}

std::map<QuantType, QuantSpec> base_specs(const Field& f, const ConfigRules& rules) {
  std::map<QuantType, QuantSpec> specs;
  for (const QuantType type : read_types(f, rules)) {
    const auto base = rules.defaults.find(type);
    QuantSpec spec = base == rules.defaults.end() ? QuantSpec() : base->second;
    spec.axis = type == QuantType::kWeight ? 0 : 1;
    if (!specs.emplace(type, spec).second) f.fail("each type once", "");
  }
  return specs;
}

void set_dtype(const std::string& dtype, const std::string& where, QuantSpec& spec) {
  if (dtype != "int" && dtype != "uint") {
    throw HALFTONE_ERROR("config")
        .at(where)
        .expected("\"int\" or \"uint\"")
        .found("\"" + dtype + "\"");
  }
  spec.is_signed = dtype == "int";
  spec.auto_dtype = false;
}

void set_scheme(const std::string& scheme, const std::string& where, QuantSpec& spec) {
  static const std::vector<std::string> kSchemes = {"per_tensor_affine", "per_tensor_symmetric",
                                                    "per_channel_affine", "per_channel_symmetric"};
  const auto found = std::find(kSchemes.begin(), kSchemes.end(), scheme);
  if (found == kSchemes.end()) {
    const std::string near = nearest_name(scheme, kSchemes);
    throw HALFTONE_ERROR("config")
        .at(where)
        .expected(
            "per_tensor_affine, per_tensor_symmetric, per_channel_affine or per_channel_symmetric")
        .found("\"" + scheme + "\"")
        .fix(near.empty() ? "" : "did you mean \"" + near + "\"?");
  }
  spec.symmetric = (found - kSchemes.begin()) % 2 == 1;
  spec.per_channel = found - kSchemes.begin() >= 2;
}

}  // namespace halftone
