#include "train/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "data/loader.h"
#include "quant/quantizer.h"
#include "train/checkpoint.h"
#include "train/clipping.h"
#include "train/data_source.h"
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

// With how a batch norm is folded behind a weight.
std::string in_words(const std::string& spec, const std::string& fold) {
  return spec + (fold.empty() ? "" : ", fold " + fold);
}

Json describe_quantizer(const std::string& name, const FakeQuantize& q) {
  Json j = {{"where", name},
            {"type", name_of(q.type())},
            {"spec", in_words(q.summary_of_spec(), q.fold() ? name_of(*q.fold()) : "")},
            {"bits", q.spec().bits},
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

// The first test images, where they are asked for.
std::vector<Tensor> probe_batch(const Context& context, const Recipe& recipe,
                                const InspectRequest& request) {
  if (!request.clipped && !request.folds) return {};
  DataRecipe data = recipe.data;
  use_folder("inspect", request.data, data);
  LoaderOptions options;
  options.batch_size = recipe.test_batch_size;
  options.shuffle = false;
  Loader loader(context, load_split(context, data, Split::kTest), options);
  return {loader.next().images};
}

// The largest difference of a layer's outputs, batch norm apart and folded.
Json describe_folds(const Network& network, const Tensor& images) {
  Json rows = Json::array();
  if (network.quantizer == nullptr) {
    throw HALFTONE_ERROR("inspect")
        .at("--folds")
        .expected("a quantized run: a float network folds nothing")
        .found("a run without a quantizer");
  }
  for (const FoldReport& r : network.quantizer->fold_report(images)) {
    rows.push_back({{"layer", r.layer},
                    {"norm", r.norm},
                    {"fold", name_of(r.fold)},
                    {"difference", r.difference},
                    {"magnitude", r.magnitude}});
  }
  return rows;
}

Json describe_run(const Context& context, const Checkpoint& c, const std::string& path,
                  const InspectRequest& request, Json& quantizers, Json& folds) {
  const Recipe recipe = parse_recipe(c.recipe, path);
  Recipe shape = recipe;
  shape.model.weights.clear();
  Network network = build_network(context, shape, c.steps_per_epoch, NetworkUse::kEvaluation);
  network.model->load_state_dict(c.model);
  const std::vector<Tensor> probe = probe_batch(context, recipe, request);
  if (request.folds) folds = describe_folds(network, probe.at(0));
  quantizers =
      describe_quantizers(*network.model.module, request.clipped ? probe : std::vector<Tensor>());
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

// What an export's codes stand for, from lowest to highest, where no range was tracked.
void add_range(const Json& q, Json& row) {
  for (size_t c = 0; c < row["scale"].size(); ++c) {
    const double scale = row["scale"][c], z = row["zero_point"][c];
    row["min_val"].push_back(scale * (q.at("qmin").get<double>() - z));
    row["max_val"].push_back(scale * (q.at("qmax").get<double>() - z));
  }
}

// Of a learned scale: z = rint(-offset / s), or 0 without an offset (LSQ+, LSQ).
void add_zero_points(const Json& q, const Json& offsets, Json& row) {
  for (size_t c = 0; c < row["scale"].size(); ++c) {
    const auto g =
        quant_math::lsq_plus_grid(row["scale"][c], offsets.empty() ? 0.0f : offsets[c].get<float>(),
                                  q.at("qmin"), q.at("qmax"));
    row["zero_point"].push_back(g.zero_point);
  }
}

Json floats_in(const TensorFile& file, const std::string& name) {
  const auto found = file.tensors.find(name);
  if (found == file.tensors.end()) return Json::array();
  return found->second.to(DType::kFloat32).to_vector<float>();
}

// One row of the quantizers of an export.
Json exported_quantizer(const TensorFile& file, const std::string& type, const Json& q) {
  const std::string state = q.at("state");
  Json row = {{"where", state},
              {"type", type},
              {"spec", in_words(q.at("summary"), q.value("fold", ""))},
              {"bits", q.at("bits")},
              {"initialised", q.at("initialised")}};
  for (const char* key : {"scale", "zero_point"})
    row[key] = q.contains(key) ? q[key] : floats_in(file, state + "." + key);
  for (const char* key : {"min_val", "max_val"}) row[key] = floats_in(file, state + "." + key);
  if (!q.at("initialised").get<bool>()) return row;
  if (row["zero_point"].empty()) add_zero_points(q, floats_in(file, state + ".offset"), row);
  if (row["min_val"].empty()) add_range(q, row);
  return row;
}

// Of an export: its metadata says which states are quantizers'.
Json exported_quantizers(const TensorFile& file) {
  Json rows = Json::array();
  const auto format = file.metadata.find("format"), layers = file.metadata.find("layers");
  const bool ours = format != file.metadata.end() && format->second == kExportFormat;
  if (!ours || layers == file.metadata.end()) return rows;
  const Json parsed = Json::parse(layers->second);
  for (const auto& [module, types] : parsed.items()) {
    for (const auto& [type, q] : types.items()) rows.push_back(exported_quantizer(file, type, q));
  }
  return rows;
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

Json describe_quantizers(Module& model, const std::vector<Tensor>& batches) {
  Json rows = Json::array();
  for (auto& [name, module] : model.named_modules()) {
    if (auto* q = dynamic_cast<FakeQuantize*>(module)) rows.push_back(describe_quantizer(name, *q));
  }
  if (batches.empty() || rows.empty()) return rows;
  const std::map<std::string, double> shares = clipped_shares(model, batches);
  for (Json& row : rows) {
    const auto share = shares.find(row["where"].get<std::string>());
    row["clipped"] = share == shares.end() ? Json() : Json(share->second);
  }
  return rows;
}

Json inspect_file(const InspectRequest& request) {
  if (!request.data.empty() && !request.clipped && !request.folds) {
    throw HALFTONE_ERROR("inspect")
        .at("--data")
        .expected("--clipped or --folds beside it: nothing else looks at images")
        .found("neither");
  }
  const std::string file = state_file(request.path);
  const Context context;
  const TensorFile tensors = load_safetensors(context, file);
  Json j = {{"file", file}, {"tensors", Json::array()}};
  for (const auto& [name, tensor] : tensors.tensors)
    j["tensors"].push_back(describe_tensor(name, tensor));
  Json quantizers = Json::array(), folds;
  if (is_checkpoint(tensors)) {
    j["run"] =
        describe_run(context, to_checkpoint(tensors, file), file, request, quantizers, folds);
  } else if (request.clipped || request.folds) {
    throw HALFTONE_ERROR("inspect")
        .at(file)
        .expected(std::string("a run for ") + (request.clipped ? "--clipped" : "--folds") +
                  ": it knows its network and data")
        .found("a file of tensors");
  } else {
    j["metadata"] = tensors.metadata;
    try {
      quantizers = exported_quantizers(tensors);
    } catch (const Json::exception& e) {
      throw HALFTONE_ERROR("inspect").at(file).expected("an export's metadata").found(e.what());
    }
  }
  if (!quantizers.empty()) j["quantizers"] = quantizers;
  if (request.folds) j["folds"] = folds;
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
  if (j.contains("quantizers")) out += quantizer_table(j["quantizers"]);
  if (!j.contains("folds")) return out;
  out += fmt::format("\n{:<36} {:<36} {:<8} {:>20} {:>12}\n", "layer", "folded batch norm", "fold",
                     "largest difference", "magnitude");
  for (const Json& f : j["folds"]) {
    out += fmt::format("{:<36} {:<36} {:<8} {:>20} {:>12}\n", f["layer"].get<std::string>(),
                       f["norm"].get<std::string>(), f["fold"].get<std::string>(),
                       number(f, "difference"), number(f, "magnitude"));
  }
  return out;
}

std::string quantizer_table(const Json& quantizers) {
  const bool clipped = !quantizers.empty() && quantizers[0].contains("clipped");
  std::string out =
      fmt::format("\n{:<36} {:<8} {:<38} {:<22} {:<12} {:<38} {}\n", "quantizer", "type", "spec",
                  "scale", "zero point", "range", clipped ? "clipped" : "");
  for (const Json& q : quantizers) {
    const bool known = q["initialised"].get<bool>();
    const bool share = clipped && !q["clipped"].is_null();
    out += fmt::format("{:<36} {:<8} {:<38} {:<22} {:<12} {:<38} {}\n",
                       q["where"].get<std::string>(), q["type"].get<std::string>(),
                       q["spec"].get<std::string>(), brief(q["scale"]), brief(q["zero_point"]),
                       known ? brief(q["min_val"]) + " to " + brief(q["max_val"]) : "not yet",
                       share ? fmt::format("{:.3f} %", 100 * q["clipped"].get<double>()) : "");
  }
  return out;
}

}  // namespace halftone
