#include "train/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "quant/fake_quantize.h"
#include "train/checkpoint.h"
#include "train/network.h"

namespace halftone {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
void add_statistics(const Tensor& t, Json& j) {
  double low = INFINITY, high = -INFINITY, sum = 0;
  for (int64_t i = 0; i < t.numel(); ++i) {
    const double v = static_cast<double>(t.data<T>()[i]);
    low = std::min(low, v), high = std::max(high, v), sum += v;
  }
  j["min"] = low, j["max"] = high, j["mean"] = sum / static_cast<double>(t.numel());
}

Json describe_tensor(const std::string& name, const Tensor& t) {
  Json j = {{"name", name},
            {"dtype", name_of(t.dtype())},
            {"shape", std::vector<int64_t>(t.shape().begin(), t.shape().end())}};
  j["bytes"] = t.nbytes();
  if (t.numel() == 0) return j;
  switch (t.dtype()) {
    case DType::kFloat32:
      add_statistics<float>(t, j);
      break;
    case DType::kBFloat16:
      add_statistics<float>(t.to(DType::kFloat32), j);
      break;
    case DType::kInt8:
      add_statistics<int8_t>(t, j);
      break;
    case DType::kUInt8:
      add_statistics<uint8_t>(t, j);
      break;
    case DType::kInt32:
      add_statistics<int32_t>(t, j);
      break;
    case DType::kInt64:
      add_statistics<int64_t>(t, j);
      break;
    case DType::kBool:
      break;
  }
  return j;
}

Json describe_quantizer(const std::string& name, const FakeQuantize& q) {
  Json j = {{"where", name},
            {"type", name_of(q.type())},
            {"spec", q.spec().str()},
            {"initialised", q.initialised()}};
  for (const char* key : {"scale", "zero_point", "min_val", "max_val"}) j[key] = Json::array();
  if (!q.initialised()) return j;
  for (const quant_math::Grid& g : q.grids(4).list) {
    j["scale"].push_back(g.scale);
    j["zero_point"].push_back(g.zero_point);
  }
  for (const kernels::Range& r : q.ranges()) {
    j["min_val"].push_back(r.low);
    j["max_val"].push_back(r.high);
  }
  return j;
}

Json describe_run(const Context& context, const Checkpoint& c, const std::string& path,
                  Json& quantizers) {
  const Recipe recipe = parse_recipe(c.recipe, path);
  Recipe shape = recipe;
  shape.model.weights.clear();
  Network network = build_network(context, shape, c.steps_per_epoch, NetworkUse::kEvaluation);
  network.model->load_state_dict(c.model);
  for (auto& [name, module] : network.model->named_modules()) {
    if (auto* q = dynamic_cast<FakeQuantize*>(module))
      quantizers.push_back(describe_quantizer(name, *q));
  }
  return {{"name", recipe.name},
          {"model", recipe.model.name},
          {"dataset", recipe.data.name},
          {"quantizer", recipe.quantizer.name},
          {"step", c.step},
          {"epochs_done", static_cast<double>(c.step) /
                              static_cast<double>(std::max<int64_t>(c.steps_per_epoch, 1))},
          {"epochs", recipe.epochs},
          {"threads", c.threads},
          {"seconds", c.seconds},
          {"finished", c.finished}};
}

// One number, or the range of many.
std::string brief(const Json& values) {
  const auto v = values.get<std::vector<float>>();
  if (v.empty()) return "-";
  const auto [low, high] = std::minmax_element(v.begin(), v.end());
  return *low == *high ? fmt::format("{:.6g}", *low) : fmt::format("{:.3g} .. {:.3g}", *low, *high);
}

std::string number(const Json& row, const char* key) {
  return row.contains(key) ? fmt::format("{:.4g}", row[key].get<double>()) : "";
}

}  // namespace

Json inspect_file(const std::string& path) {
  const std::string file =
      std::filesystem::is_directory(path) ? path + "/checkpoint.safetensors" : path;
  const Context context;
  const TensorFile tensors = load_safetensors(context, file);
  Json j = {{"file", file}, {"tensors", Json::array()}};
  for (const auto& [name, tensor] : tensors.tensors)
    j["tensors"].push_back(describe_tensor(name, tensor));
  if (!is_checkpoint(tensors)) {
    j["metadata"] = tensors.metadata;
    return j;
  }
  Json quantizers = Json::array();
  j["run"] = describe_run(context, to_checkpoint(tensors, file), file, quantizers);
  if (!quantizers.empty()) j["quantizers"] = quantizers;
  return j;
}

std::string inspect_table(const Json& j) {
  std::string out = j["file"].get<std::string>() + "\n\n";
  if (j.contains("run")) {
    for (const auto& [key, value] : j["run"].items()) {
      out += fmt::format("{:<12} {}\n", key,
                         value.is_string() ? value.get<std::string>() : value.dump());
    }
    out += "\n";
  }
  out += fmt::format("{:<52} {:<8} {:<20} {:>10} {:>11} {:>11} {:>11}\n", "tensor", "dtype",
                     "shape", "bytes", "min", "max", "mean");
  for (const Json& t : j["tensors"]) {
    out += fmt::format("{:<52} {:<8} {:<20} {:>10} {:>11} {:>11} {:>11}\n",
                       t["name"].get<std::string>(), t["dtype"].get<std::string>(),
                       t["shape"].dump(), t["bytes"].get<int64_t>(), number(t, "min"),
                       number(t, "max"), number(t, "mean"));
  }
  if (!j.contains("quantizers")) return out;
  out += fmt::format("\n{:<40} {:<8} {:<30} {:<24} {:<14} {}\n", "quantizer", "type", "spec",
                     "scale", "zero point", "range");
  for (const Json& q : j["quantizers"]) {
    out += fmt::format("{:<40} {:<8} {:<30} {:<24} {:<14} {}\n", q["where"].get<std::string>(),
                       q["type"].get<std::string>(), q["spec"].get<std::string>(),
                       brief(q["scale"]), brief(q["zero_point"]),
                       q["initialised"].get<bool>()
                           ? brief(q["min_val"]) + " to " + brief(q["max_val"])
                           : "not yet");
  }
  return out;
}

}  // namespace halftone
