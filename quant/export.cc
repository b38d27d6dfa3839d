// Quantizer::export_model.
#include <algorithm>

#include "kernels/elementwise.h"
#include "quant/chain_step.h"
#include "quant/export_record.h"
#include "quant/fold.h"
#include "quant/host_values.h"
#include "tensor/atomic_file.h"
#include "tensor/nearest.h"
#include "tensor/safetensors.h"

namespace halftone {
namespace {

using Json = nlohmann::json;
using Tensors = std::map<std::string, Tensor>;

Tensor disk_layout(const Tensor& value) {
  const Tensor w = at_home(value);
  if (w.rank() != 4) return w.clone();
  Tensor out = Tensor::empty(w.context(), {w.dim(0), w.dim(3), w.dim(1), w.dim(2)}, w.dtype());
  kernels::nhwc_to_nchw(w, out);
  return out;
}

template <class T, class Get>
Tensor per_channel(const ChainStep& s, Get get) {
  std::vector<T> values;
  for (int64_t c = 0; c < s.out_channels(); ++c) values.push_back(static_cast<T>(get(c)));
  return Tensor::from(s.weight.context().host(), Shape{s.out_channels()}, values);
}

// w gamma / sigma, in the shape of w.
Tensor folded_weight(const ChainStep& s) {
  Tensor w = at_home(s.weight).clone();
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
  const std::vector<int32_t>& offsets = s.weight_options.offsets;
  if (std::any_of(offsets.begin(), offsets.end(), [](int32_t v) { return v != 0; }))
    out[name + "weight_offset"] = per_channel<int32_t>(s, [&](int64_t c) { return offsets[c]; });
  out[name + "weight_scale"] =
      per_channel<float>(s, [&](int64_t c) { return s.folded[c].weight_scale; });
  out[name + "bias_codes"] = per_channel<int32_t>(s, [&](int64_t c) { return s.channels[c].bias; });
  out[name + "multiplier"] =
      per_channel<float>(s, [&](int64_t c) { return s.channels[c].multiplier; });
  out[name + "folded_weight"] = disk_layout(folded_weight(s));
  out[name + "folded_bias"] = per_channel<float>(s, [&](int64_t c) { return s.folded[c].offset; });
  const Context context = s.weight.context().host();
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

// Of a layer without an integer chain: the codes of what is quantized there, and what they mean.
void add_weight(const QuantPoint& point, const Tensor& weight, const std::string& name,
                Tensors& out) {
  const kernels::Grids grids = point.quantizer->grids(weight.rank());
  std::vector<float> scales;
  std::vector<int32_t> zero_points;
  for (const quant_math::Grid& g : grids.list) {
    scales.push_back(g.scale);
    zero_points.push_back(g.zero_point);
  }
  const Shape shape{static_cast<int64_t>(scales.size())};
  out[name + "_codes"] = disk_layout(point.quantizer->codes(weight));
  out[name + "_scale"] = Tensor::from(weight.context().host(), shape, scales);
  out[name + "_zero_point"] = Tensor::from(weight.context().host(), shape, zero_points);
}

// Of a quantizer whose scale is no tensor of the file, as it follows from a rule.
void add_grid(const FakeQuantize& q, Json& out) {
  for (const quant_math::Grid& g : q.grids(4).list) {
    out["scale"].push_back(g.scale);
    out["zero_point"].push_back(g.zero_point);
  }
}

// What still trains in float has none.
bool has_codes(const FakeQuantize& q) { return q.initialised() && !q.warm_up(); }

// Of one with a folded batch norm, the same under names of their own where the folded weight is
// what is quantized, and the folded layer in floats.
void add_float_chain(const QuantPoint& point, const Chain& chain, Tensors& out) {
  const bool folded = chain.quantizes_folded();
  const std::string name = point.module + (folded ? ".folded_weight" : ".weight");
  if (has_codes(*point.quantizer)) add_weight(point, exported_weight(chain), name, out);
  if (chain.norm == nullptr) return;
  const FoldedLayer layer = fold_layer(chain, chain.weights().value());
  out[point.module + ".folded_weight"] = disk_layout(layer.weight);
  out[point.module + ".folded_bias"] = layer.bias;
}

}  // namespace

void Quantizer::export_model(const std::string& model_path, const std::string& calibration_path,
                             const std::string& onnx_path) const {
  check_tree("export_model");
  if (!onnx_path.empty()) {
    throw HALFTONE_ERROR("export_model")
        .at(onnx_path)
        .what_happened(
            "an ONNX file goes from the bytes of an image to logits, and a quantizer does not know "
            "how images are normalised")
        .fix(
            "halftone export RUN --format onnx; in C++ compile_program() and to_onnx() "
            "(deploy/compile.h, deploy/export_onnx.h)");
  }
  check_exportable();
  check_known();
  TensorFile file;
  file.tensors = model_.state_dict();
  std::map<std::string, std::string> floats = float_layers();
  for (const QuantPoint& point : points_) {
    const std::string why = waits_for(point.module);
    if (!why.empty()) floats.emplace(point.module, why);
  }
  Json layers = Json::object();
  for (const QuantPoint& point : points_) {
    const FakeQuantize& q = *point.quantizer;
    Json& record = layers[point.module][name_of(point.type)] = record_of(q);
    if (q.initialised() && file.tensors.count(q.path() + ".scale") == 0) add_grid(q, record);
    if (point.type == QuantType::kWeight)
      add_layer(point, floats.count(point.module) == 0, file.tensors);
  }
  file.metadata["format"] = kExportFormat;
  file.metadata["quantizer"] = name();
  file.metadata["layers"] = layers.dump();
  file.metadata["float_layers"] = Json(floats).dump();
  if (!model_path.empty()) save_safetensors(model_path, file);
  if (!calibration_path.empty()) {
    const Json calibration = calibration_of(points_, needs_calibration());
    write_file_atomically(calibration_path, calibration.dump(2) + "\n");
  }
}

// Without its range a quantizer passes everything through: before any step, the float network runs.
void Quantizer::check_known() const {
  std::vector<std::string> unknown;
  for (const QuantPoint& point : points_) {
    if (point.type != QuantType::kBias && !point.quantizer->initialised())
      unknown.push_back(point.module + " (" + name_of(point.type) + ")");
  }
  if (unknown.empty() || step() > 1) return;
  throw HALFTONE_ERROR("export_model")
      .expected("quantizers that know their ranges")
      .found("no step of training, and none in " + short_list(unknown))
      .fix("train, or load_calibration_config() first: until then the float network is what runs");
}

const Chain* Quantizer::chain_of(const std::string& module) const {
  for (const auto* list : {&chains_, &folds_}) {
    for (const ChainPtr& chain : *list) {
      if (chain->anchor->path() == module) return chain.get();
    }
  }
  return nullptr;
}

// What an export adds for a layer with a quantized weight.
void Quantizer::add_layer(const QuantPoint& weight, bool integer,
                          std::map<std::string, Tensor>& out) const {
  const Chain* chain = chain_of(weight.module);
  if (integer) return add_chain(*chain, chain->grid->params(), out);
  if (chain != nullptr) return add_float_chain(weight, *chain, out);
  if (has_codes(*weight.quantizer))
    add_weight(weight, weight_of(weight), weight.module + ".weight", out);
}

Tensor Quantizer::weight_of(const QuantPoint& point) const {
  const Chain* chain = chain_of(point.module);
  return chain != nullptr ? weight_to_quantize(*chain)
                          : dynamic_cast<WeightLayer&>(*model_.find(point.module)).weight.value();
}

void Quantizer::check_tree(const char* op) const {
  if (tree_ == nullptr) {
    throw HALFTONE_ERROR(op)
        .what_happened("the model is not quantized yet")
        .fix("call compress() first");
  }
  tree_->check();
}

}  // namespace halftone
