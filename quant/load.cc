// Quantizer::load_model.
#include <algorithm>

#include "quant/export_record.h"
#include "tensor/nearest.h"
#include "tensor/safetensors.h"

namespace halftone {
namespace {

using Json = nlohmann::json;

void append(std::string& text, const std::string& title, const std::vector<std::string>& items) {
  if (items.empty()) return;
  text += (text.empty() ? "" : "; ") + std::to_string(items.size()) + " " + title + ": " +
          short_list(items);
}

Json parse_layers(const TensorFile& file, const std::string& path) {
  const auto text = file.metadata.find("layers");
  Json layers = text == file.metadata.end() ? Json() : Json::parse(text->second, nullptr, false);
  if (layers.is_null() && text != file.metadata.end()) layers = Json::object();  // no points
  const bool good = layers.is_object() && std::all_of(layers.begin(), layers.end(),
                                                      [](const Json& l) { return l.is_object(); });
  if (good) return layers;
  throw HALFTONE_ERROR("load_model")
      .at(path)
      .expected("the quantizers of every layer in the metadata \"layers\"")
      .found("none");
}

// "expected X, found Y" of two records of one point; "" where they agree.
std::string difference(const FakeQuantize& q, const Json& found) {
  const Json expected = record_of(q);
  // Where the values decide on the sign, those of the file do.
  const bool dtype = !q.spec().auto_dtype;
  const std::string a = summary_of_record(expected, dtype), b = summary_of_record(found, dtype);
  if (a != b) return "expected " + a + ", found " + b;
  if (expected.at("state") == found.at("state")) return "";
  return "expected its state in " + expected["state"].dump() + ", found " + found["state"].dump();
}

std::string difference_or_damage(const FakeQuantize& q, const Json& found) {
  try {
    return difference(q, found);
  } catch (const Json::exception&) {
    return "expected bits, dtype, scheme and state, found " + found.dump();
  }
}

// Of the quantizers that a file lists and those of the model, both ways.
void check_points(const Json& layers, const std::vector<QuantPoint>& points,
                  const std::string& path) {
  std::vector<std::string> missing, unexpected, different;
  Json left = layers;
  for (const QuantPoint& point : points) {
    const std::string type = name_of(point.type), name = point.module + " (" + type + ")";
    if (!layers.contains(point.module) || !layers[point.module].contains(type)) {
      missing.push_back(name);
      continue;
    }
    left[point.module].erase(type);
    const std::string why = difference_or_damage(*point.quantizer, layers[point.module][type]);
    if (!why.empty()) different.push_back(name + " " + why);
  }
  for (const auto& [module, types] : left.items()) {
    for (const auto& [type, record] : types.items())
      unexpected.push_back(module + " (" + type + ")");
  }
  std::string text;
  append(text, "expected and missing in the file", missing);
  append(text, "found in the file and not expected", unexpected);
  append(text, "different", different);
  if (text.empty()) return;
  throw HALFTONE_ERROR("load_model")
      .at(path)
      .what_happened("the file's quantizers are not this model's: " + text)
      .fix(
          "make the quantizer with the config_list, options and dummy input of the one that wrote "
          "the file");
}

// Of what export_model adds to the state.
bool is_derived(const std::string& name) {
  if (name.find(".integer.") != std::string::npos) return true;
  const std::string last = name.substr(name.rfind('.') + 1);
  for (const char* known :
       {"weight_codes", "weight_scale", "weight_zero_point", "folded_weight", "folded_bias",
        "folded_weight_codes", "folded_weight_scale", "folded_weight_zero_point"}) {
    if (last == known) return true;
  }
  return false;
}

}  // namespace

void Quantizer::load_model(const std::string& model_path) {
  check_tree("load_model");
  const TensorFile file = load_safetensors(model_.context(), model_path);
  const auto format = file.metadata.find("format"), maker = file.metadata.find("quantizer");
  const bool ours = format != file.metadata.end() && format->second == kExportFormat;
  if (!ours || maker == file.metadata.end() || maker->second != name()) {
    throw HALFTONE_ERROR("load_model")
        .at(model_path)
        .expected("a file that export_model of " + name() + " wrote")
        .found(ours ? "one of " + maker->second : "another file")
        .fix(ours ? "make the quantizer that the file names" : "");
  }
  check_points(parse_layers(file, model_path), points_, model_path);
  std::map<std::string, Tensor> state;
  for (const auto& [name, tensor] : file.tensors) {
    if (!is_derived(name)) state.emplace(name, tensor);
  }
  try {
    model_.load_state_dict(state);
  } catch (Error& e) {
    throw e.inside(model_path);
  }
}

}  // namespace halftone
