// Quantizer::export_model and load_calibration_config.
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/elementwise.h"
#include "nn/input_check.h"
#include "quant/chain_step.h"
#include "quant/fold.h"
#include "quant/quantizer.h"
#include "tensor/atomic_file.h"
#include "tensor/nearest.h"
#include "tensor/safetensors.h"

namespace halftone {
namespace {

using Json = nlohmann::json;
using Tensors = std::map<std::string, Tensor>;

Tensor disk_layout(const Tensor& w) {
  if (w.rank() != 4) return w.clone();
  Tensor out = Tensor::empty(w.context(), {w.dim(0), w.dim(3), w.dim(1), w.dim(2)}, w.dtype());
  kernels::nhwc_to_nchw(w, out);
  return out;
}

template <class T, class Get>
Tensor per_channel(const ChainStep& s, Get get) {
  std::vector<T> values;
  for (int64_t c = 0; c < s.out_channels(); ++c) values.push_back(static_cast<T>(get(c)));
  return Tensor::from(s.weight.context(), Shape{s.out_channels()}, values);
}

// w gamma / sigma, in the shape of w.
Tensor folded_weight(const ChainStep& s) {
  Tensor w = s.weight.clone();
  const int64_t length = w.numel() / s.out_channels();
  for (int64_t i = 0; i < w.numel(); ++i) {
    w.data<float>()[i] = static_cast<float>(w.data<float>()[i] * s.folded[i / length].ratio /
                                            s.row_factor[i / length]);
  }
  return w;
}

// What the integer network needs of one chain.
void add_chain(const Chain& chain, const QuantParams& x, Tensors& out) {
  const ChainStep s = deployed_step(chain, x);
  const std::string name = chain.anchor->path() + ".integer.";
  out[name + "weight_codes"] = disk_layout(s.weight_codes);
  out[name + "weight_scale"] =
      per_channel<float>(s, [&](int64_t c) { return s.folded[c].weight_scale; });
  out[name + "bias_codes"] = per_channel<int32_t>(s, [&](int64_t c) { return s.channels[c].bias; });
  out[name + "multiplier"] =
      per_channel<float>(s, [&](int64_t c) { return s.channels[c].multiplier; });
  out[name + "folded_weight"] = disk_layout(folded_weight(s));
  out[name + "folded_bias"] = per_channel<float>(s, [&](int64_t c) { return s.folded[c].offset; });
  const Context& context = s.weight.context();
  out[name + "input_scale"] = Tensor::full(context, {1}, x.scale);
  out[name + "input_zero_point"] =
      Tensor::from(context, Shape{1}, std::vector<int32_t>{x.zero_point});
  if (!s.quantized) return;
  const kernels::CodeRange range = code_range(s);
  const auto end = [&](float v) { return static_cast<int32_t>(v) + range.zero_point; };
  out[name + "output_scale"] = Tensor::full(context, {1}, s.y.scale);
  out[name + "output_zero_point"] =
      Tensor::from(context, Shape{1}, std::vector<int32_t>{s.y.zero_point});
  out[name + "output_code_range"] =
      Tensor::from(context, Shape{2}, std::vector<int32_t>{end(range.low), end(range.high)});
}

// Of a layer without an integer chain: the weight's codes and what they mean.
void add_weight(const QuantPoint& point, const Tensor& weight, Tensors& out) {
  const kernels::Grids grids = point.quantizer->grids(weight.rank());
  std::vector<float> scales;
  std::vector<int32_t> zero_points;
  for (const quant_math::Grid& g : grids.list) {
    scales.push_back(g.scale);
    zero_points.push_back(g.zero_point);
  }
  const Shape shape{static_cast<int64_t>(scales.size())};
  out[point.module + ".weight_codes"] = disk_layout(point.quantizer->codes(weight));
  out[point.module + ".weight_scale"] = Tensor::from(weight.context(), shape, scales);
  out[point.module + ".weight_zero_point"] = Tensor::from(weight.context(), shape, zero_points);
}

Json describe(const FakeQuantize& q) {
  const QuantSpec spec = q.spec();
  const quant_math::Grid g = q.empty_grid();
  Json out = {{"bits", spec.bits},
              {"dtype", spec.is_signed ? "int" : "uint"},
              {"scheme", std::string(spec.per_channel ? "per_channel_" : "per_tensor_") +
                             (spec.symmetric ? "symmetric" : "affine")},
              {"qmin", g.qmin},
              {"qmax", g.qmax},
              {"summary", q.summary_of_spec()},
              {"rounding", spec.nni ? "nni" : "onnx"},
              {"state", q.path()},
              {"initialised", q.initialised()}};
  if (spec.per_channel) out["axis"] = spec.axis;
  if (spec.padding_value != 0) out["padding_value"] = spec.padding_value;
  return out;
}

// Of a quantizer whose scale is no tensor of the file, as it follows from a rule.
void add_grid(const FakeQuantize& q, Json& out) {
  for (const quant_math::Grid& g : q.grids(4).list) {
    out["scale"].push_back(g.scale);
    out["zero_point"].push_back(g.zero_point);
  }
}

// A number, or a list for more than one channel.
template <class Get>
Json numbers(const FakeQuantize& q, Get get) {
  Json list = Json::array();
  for (const kernels::Range& r : q.ranges()) list.push_back(get(r));
  return list.size() == 1 ? list[0] : list;
}

// What NNI's ObserverQuantizer exports too.
void add_code_range(const QuantPoint& point, Json& layer) {
  const FakeQuantize& q = *point.quantizer;
  const std::string type = name_of(point.type);
  const quant_math::Grid g = quant_math::empty_grid(q.spec().rule());
  layer["tracked_min_" + type] = numbers(q, [](const kernels::Range& r) { return r.low; });
  layer["tracked_max_" + type] = numbers(q, [](const kernels::Range& r) { return r.high; });
  layer["tracked_qmin_" + type] = g.qmin;
  layer["tracked_qmax_" + type] = g.qmax;
}

void add_calibration(const QuantPoint& point, Json& layer) {
  const FakeQuantize& q = *point.quantizer;
  const std::string type = name_of(point.type);
  layer[type + "_bits"] = q.spec().bits;
  if (!q.initialised() || point.type == QuantType::kGradient || point.type == QuantType::kBias)
    return;
  if (point.type != QuantType::kWeight) {
    layer["tracked_min_" + type] = numbers(q, [](const kernels::Range& r) { return r.low; });
    layer["tracked_max_" + type] = numbers(q, [](const kernels::Range& r) { return r.high; });
    return;
  }
  for (const quant_math::Grid& g : q.grids(4).list) {
    layer["weight_scale"].push_back(g.scale);
    layer["weight_zero_point"].push_back(g.zero_point);
  }
}

std::vector<float> number_list(const Json& layer, const std::string& key,
                               const std::string& where) {
  if (!layer.contains(key)) return {};
  const Json& value = layer[key];
  if (value.is_number()) return {value.get<float>()};
  const bool good = value.is_array() && std::all_of(value.begin(), value.end(),
                                                    [](const Json& v) { return v.is_number(); });
  if (good) return value.get<std::vector<float>>();
  throw HALFTONE_ERROR("load_calibration_config")
      .at(where)
      .expected("a number or a list of numbers in " + key)
      .found(value.dump());
}

[[noreturn]] void fail_calibration(const std::string& where, const std::string& expected,
                                   const std::string& found) {
  throw HALFTONE_ERROR("load_calibration_config").at(where).expected(expected).found(found);
}

void check_range(const kernels::Range& r, const std::string& where, const std::string& type) {
  if (std::isfinite(r.low) && std::isfinite(r.high) && r.low <= r.high) return;
  fail_calibration(where, "finite tracked_min_" + type + " <= tracked_max_" + type,
                   short_number(r.low) + " and " + short_number(r.high));
}

// The ranges that the file gives for a point; empty where it gives none.
std::vector<kernels::Range> read_ranges(const Json& layer, const std::string& where,
                                        const QuantPoint& point) {
  const std::string type = name_of(point.type);
  const FakeQuantize& q = *point.quantizer;
  if (layer.contains(type + "_bits") && layer[type + "_bits"] != q.spec().bits) {
    fail_calibration(where,
                     type + "_bits " + std::to_string(q.spec().bits) + ", as config_list says",
                     layer[type + "_bits"].dump());
  }
  const auto low = number_list(layer, "tracked_min_" + type, where);
  const auto high = number_list(layer, "tracked_max_" + type, where);
  if (low.size() != high.size()) {
    fail_calibration(where, "as many tracked_min_" + type + " as tracked_max_" + type,
                     std::to_string(low.size()) + " and " + std::to_string(high.size()));
  }
  if (low.empty() || point.type == QuantType::kWeight) return {};
  if (!q.spec().per_channel && low.size() != 1)
    fail_calibration(where, "one range per tensor", std::to_string(low.size()));
  std::vector<kernels::Range> ranges;
  for (size_t c = 0; c < low.size(); ++c) {
    ranges.push_back({low[c], high[c]});
    check_range(ranges.back(), where, type);
  }
  return ranges;
}

}  // namespace

void Quantizer::export_model(const std::string& model_path, const std::string& calibration_path,
                             const std::string& onnx_path) const {
  check_tree("export_model");
  if (!onnx_path.empty()) {
    throw HALFTONE_ERROR("export_model")
        .at(onnx_path)
        .what_happened("ONNX files are not written yet")
        .fix("leave onnx_path empty; model_path holds every code, scale and zero point");
  }
  check_exportable();
  TensorFile file;
  file.tensors = model_.state_dict();
  Json layers, calibration;
  for (const QuantPoint& point : points_) {
    const FakeQuantize& q = *point.quantizer;
    Json& layer = layers[point.module][name_of(point.type)] = describe(q);
    if (q.initialised() && file.tensors.count(q.path() + ".scale") == 0) add_grid(q, layer);
    add_calibration(point, calibration[point.module]);
    if (needs_calibration()) add_code_range(point, calibration[point.module]);
  }
  std::map<std::string, const Chain*> chain_of;
  for (const ChainPtr& chain : chains_) chain_of[chain->anchor->path()] = chain.get();
  for (const QuantPoint& point : points_) {
    if (point.type != QuantType::kWeight || !point.quantizer->initialised()) continue;
    const auto chain = chain_of.find(point.module);
    const FakeQuantize* grid = chain == chain_of.end() ? nullptr : chain->second->grid.get();
    if (grid != nullptr && grid->initialised()) {
      add_chain(*chain->second, grid->params(), file.tensors);
    } else {
      add_weight(point, weight_of(point), file.tensors);
    }
  }
  for (const ChainPtr& chain : folds_) {
    const FoldedLayer folded = fold_layer(*chain, chain->weights().value());
    file.tensors[chain->anchor->path() + ".folded_weight"] = disk_layout(folded.weight);
    file.tensors[chain->anchor->path() + ".folded_bias"] = folded.bias;
  }
  file.metadata["format"] = kExportFormat;
  file.metadata["quantizer"] = name();
  file.metadata["layers"] = layers.dump();
  if (!model_path.empty()) save_safetensors(model_path, file);
  if (!calibration_path.empty())
    write_file_atomically(calibration_path, calibration.dump(2) + "\n");
}

Tensor Quantizer::weight_of(const QuantPoint& point) const {
  for (const auto* list : {&chains_, &folds_}) {
    for (const ChainPtr& chain : *list) {
      if (chain->anchor->path() == point.module) return weight_to_quantize(*chain);
    }
  }
  return dynamic_cast<WeightLayer&>(*model_.find(point.module)).weight.value();
}

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
  std::map<std::string, Tensor> state;
  for (const auto& [name, tensor] : model_.state_dict()) {
    const auto found = file.tensors.find(name);
    if (found != file.tensors.end()) state.emplace(*found);
  }
  try {
    model_.load_state_dict(state);
  } catch (Error& e) {
    throw e.inside(model_path);
  }
}

void Quantizer::check_tree(const char* op) const {
  if (tree_ == nullptr) {
    throw HALFTONE_ERROR(op)
        .what_happened("the model is not quantized yet")
        .fix("call compress() first");
  }
  tree_->check();
}

void Quantizer::load_calibration_config(const std::string& path) {
  check_tree("load_calibration_config");
  std::ifstream in(path);
  if (!in)
    throw HALFTONE_ERROR("load_calibration_config")
        .at(path)
        .what_happened("the file cannot be read");
  const Json config = Json::parse(in, nullptr, false);
  if (!config.is_object()) {
    throw HALFTONE_ERROR("load_calibration_config")
        .at(path)
        .expected("a JSON object of layers")
        .found("something else");
  }
  // Everything is read before anything is changed.
  std::vector<std::pair<const QuantPoint*, std::vector<kernels::Range>>> loads;
  for (const auto& [module, layer] : config.items()) {
    const std::string where = path + ", " + module;
    if (!layer.is_object()) fail_calibration(where, "a JSON object of ranges", layer.dump());
    std::vector<std::string> names;
    const size_t before = loads.size();
    for (const QuantPoint& point : points_) {
      names.push_back(point.module);
      if (point.module == module) loads.emplace_back(&point, read_ranges(layer, where, point));
    }
    if (loads.size() == before)
      fail_calibration(where, "a quantized layer", "no such layer" + did_you_mean(module, names));
  }
  for (const auto& [point, ranges] : loads) {
    FakeQuantize& q = *point->quantizer;
    if (!ranges.empty()) q.set_ranges(ranges);
    if (point->type == QuantType::kWeight && !q.initialised()) q.observe_values(weight_of(*point));
  }
}

}  // namespace halftone
