// Small networks of one chain, and the oracle for them.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "test/quant/chain_oracle.h"

namespace halftone::test {

inline const char* const kConfig = R"([
  {"quant_types": ["weight", "input"], "quant_bits": {"weight": WBITS, "input": 8},
   "op_types": ["Conv2d", "Linear"], "quant_dtype": {"weight": "WDTYPE", "input": "uint"},
   "quant_scheme": {"weight": "WSCHEME", "input": "per_tensor_affine"} FOLD},
  {"quant_types": ["output"], "quant_bits": ABITS, "op_types": ["ReLU", "ReLU6", "Hardtanh"],
   "quant_dtype": "ADTYPE", "quant_scheme": "per_tensor_affine"}])";

inline std::string replace(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from))
    text.replace(at, from.size(), to);
  return text;
}

// Learned scales; types and zero points follow from the data (LSQ) or are learned too (LSQ+).
inline const char* const kLearnedConfig = R"([
  {"quant_types": ["weight", "input"], "quant_bits": {"weight": WBITS, "input": 8},
   "op_types": ["Conv2d", "Linear"], "quant_scheme": {"weight": "WSCHEME"}},
  {"quant_types": ["output"], "quant_bits": ABITS, "op_types": ["ReLU", "ReLU6", "Hardtanh"]}])";

struct Case {
  std::string name, quantizer = "QAT_Quantizer";
  Conv2dArgs conv{3, 8, 3, 1, 1};
  bool linear = false, norm = true;
  Activation act = Activation::kReLU;
  int weight_bits = 8, output_bits = 8;
  bool per_channel = true, output_signed = false;
  std::string fold = "scale";
  bool pool = false;
  // Weights: symmetric int, affine uint, affine int, symmetric uint.
  enum class Grid { kSymmetric, kAffine, kAffineInt, kUnsigned } grid = Grid::kSymmetric;
  bool affine() const { return grid == Grid::kAffine || grid == Grid::kAffineInt; }
  bool unsigned_codes() const { return grid == Grid::kAffine || grid == Grid::kUnsigned; }
  bool learned() const { return quantizer.rfind("Lsq", 0) == 0; }
};

inline std::vector<Case> cases() {
  std::vector<Case> all(17);
  all[0].name = "conv, batch norm, ReLU";
  all[1].name = "no batch norm, bias";
  all[1].norm = false;
  all[2].name = "groups, stride, no bias";
  all[2].conv = {6, 9, 3, 2, 1, 1, 3, false};
  all[3].name = "depthwise, ReLU6";
  all[3].conv = {8, 8, 3, 1, 1, 1, 8, false};
  all[3].act = Activation::kReLU6;
  all[4].name = "per-tensor weights, Hardtanh";
  all[4].per_channel = false;
  all[4].act = Activation::kHardtanh;
  all[5].name = "4-bit weights";
  all[5].weight_bits = 4;
  all[6].name = "2-bit weights, 4-bit activations";
  all[6].weight_bits = 2;
  all[6].output_bits = 4;
  all[7].name = "linear with batch norm";
  all[7].linear = true;
  all[8].name = "linear without";
  all[8].linear = true;
  all[8].norm = false;
  all[9].name = "signed output codes";
  all[9].act = Activation::kHardtanh;
  all[9].output_signed = true;
  all[10].name = "dilation, even kernel";
  all[10].conv = {3, 5, 2, 1, 1, 2, 1, true, 3};
  for (int i = 11; i < 17; ++i) all[i].act = Activation::kHardtanh;
  all[11].name = "max pooling before batch norm";
  all[11].pool = true;
  all[12].name = "folded weights, batch statistics";
  all[12].fold = "batch";
  all[13].name = "folded weights, running statistics";
  all[13].fold = "ema";
  all[14].name = "folded weights, per tensor, pooling";
  all[14].fold = "batch";
  all[14].per_channel = false;
  all[14].pool = true;
  all[15].name = "folded 4-bit weights, running statistics, pooling, no bias";
  all[15].fold = "ema";
  all[15].conv.bias = false;
  all[15].weight_bits = 4;
  all[15].pool = true;
  all[16].name = "linear, folded weights";
  all[16].linear = true;
  all[16].fold = "batch";
  return all;
}

// The same on grids with a zero point, in 8 bits (whose integers leave int8) and in fewer.
inline std::vector<Case> zero_point_cases() {
  using Grid = Case::Grid;
  std::vector<Case> all;
  for (const auto& [grid, name] : {std::pair{Grid::kAffine, "affine"},
                                   {Grid::kAffineInt, "affine int"},
                                   {Grid::kUnsigned, "unsigned"}}) {
    for (Case c : cases()) {
      c.name = std::string(name) + ", " + c.name;
      c.grid = grid;
      all.push_back(c);
    }
  }
  Case wide;
  wide.name = "affine, stride, dilation, padding, groups, per tensor";
  wide.grid = Grid::kAffine;
  wide.conv = {6, 9, 3, 2, 2, 2, 3, true};
  wide.per_channel = false;
  all.push_back(wide);
  return all;
}

// The same with learned scales, and offsets.
inline std::vector<Case> learned_cases() {
  std::vector<Case> all;
  for (const char* quantizer : {"LsqQuantizer", "LsqPlusQuantizer"}) {
    for (Case c : cases()) {
      if (c.fold != "scale") continue;  // has no integer form with a learned scale
      c.name = std::string(quantizer) + ", " + c.name;
      c.quantizer = quantizer;
      all.push_back(c);
    }
  }
  return all;
}

struct Net {
  explicit Net(const Case& c, int threads = 2, bool integer = true)
      : Net(c, options(threads), integer) {}
  Net(const Case& c, const ContextOptions& where, bool integer = true)
      : context(where), model(make<Sequential>(context)) {
    const int out = c.conv.out_channels;
    if (c.linear) {
      layer = make<Linear>(context, 40, out);
    } else {
      layer = make<Conv2d>(context, c.conv);
    }
    model->append("layer", layer);
    if (c.pool) model->append("pool", make<MaxPool2d>(context, pool_options(2)));
    if (c.norm) {
      norm = make<BatchNorm>(context, out, c.linear ? 1 : 2);
      model->append("norm", norm);
      Tensor& gamma = norm->weight.mutable_value();
      gamma.copy_from(spread(context, {out}, -1.5f, 1.5f, 3));
      gamma.data<float>()[1] = 0.0f;
      gamma.data<float>()[2] = 1e-13f;
      norm->bias.mutable_value().copy_from(spread(context, {out}, -0.5f, 1.0f, 5));
    }
    if (c.grid != Case::Grid::kSymmetric) shift_weights(c.per_channel);
    ActivationOptions act;
    act.kind = c.act;
    model->append("act", make<ActivationLayer>(context, act));
    const Shape shape = c.linear ? Shape{6, 40} : Shape{4, 7, 9, c.conv.in_channels};
    x = spread(context, shape, -1.0f, 2.0f, 7);
    const bool learned = c.learned();
    std::string config =
        replace(learned ? kLearnedConfig : kConfig, "WBITS", std::to_string(c.weight_bits));
    config = replace(config, "ABITS", std::to_string(c.output_bits));
    config = replace(config, "FOLD", c.fold == "scale" ? "" : ", \"fold\": \"" + c.fold + "\"");
    config = replace(config, "WSCHEME",
                     std::string(c.per_channel ? "per_channel_" : "per_tensor_") +
                         (c.affine() ? "affine" : "symmetric"));
    config = replace(config, "WDTYPE", c.unsigned_codes() ? "uint" : "int");
    config = replace(config, "ADTYPE", c.output_signed ? "int" : "uint");
    QuantizerOptions quantizing;
    quantizing.integer = integer;
    model->train(c.quantizer != "ObserverQuantizer");
    quantizer = make_quantizer(c.quantizer, *model, config, nullptr, x, quantizing);
    if (!quantizer->needs_calibration()) quantizer->compress();
  }
  // Rows of every kind: positive ones (zero point 0), negative ones (255), and what lies between.
  void shift_weights(bool per_channel) {
    Tensor& w = const_cast<Variable&>(weight()).mutable_value();
    const int64_t length = w.numel() / w.dim(0);
    float largest = 0;
    for (const float v : w.to_vector<float>()) largest = std::max(largest, std::fabs(v));
    const float shifts[] = {1.0f, 1.0f, -1.0f, 1.0f, -1.0f, 0.4f, 0.0f, -1.0f};
    for (int64_t i = 0; i < w.numel(); ++i)
      w.data<float>()[i] += largest * (per_channel ? shifts[i / length % 8] : 0.3f);
  }
  static ContextOptions options(int threads) {
    ContextOptions o;
    o.threads = threads;
    o.seed = 5;
    return o;
  }
  const Variable& weight() const {
    auto* conv = dynamic_cast<Conv2d*>(layer.get());
    return conv != nullptr ? conv->weight : dynamic_cast<Linear&>(*layer).weight;
  }
  FakeQuantize& quantizer_of(QuantType type) const {
    for (const QuantPoint& point : quantizer->points()) {
      if (point.type == type) return *point.quantizer;
    }
    throw std::runtime_error("no quantizer of this type");
  }
  const Variable& bias() const {
    auto* conv = dynamic_cast<Conv2d*>(layer.get());
    return conv != nullptr ? conv->bias : dynamic_cast<Linear&>(*layer).bias;
  }

  Context context;
  std::shared_ptr<Sequential> model;
  ModulePtr layer;
  std::shared_ptr<BatchNorm> norm;
  Tensor x;
  std::unique_ptr<Quantizer> quantizer;
};

// The oracle for the state that the net has now (running statistics: before the forward).
inline LayerOracle oracle_of(const Case& c, Net& net) {
  LayerOracle o;
  const Shape& xs = net.x.shape();
  const Shape& ws = net.weight().shape();
  o.x_shape = c.linear ? Shape{xs[0], 1, 1, xs[1]} : xs;
  o.w_shape = c.linear ? Shape{ws[0], 1, 1, ws[1]} : ws;
  if (!c.linear) o.options = dynamic_cast<Conv2d&>(*net.layer).options();
  o.weight = net.weight().value().to_vector<float>();
  if (net.bias().defined()) o.bias = net.bias().value().to_vector<float>();
  if (net.norm) {
    o.norm = true;
    o.gamma = net.norm->weight.value().to_vector<float>();
    o.beta = net.norm->bias.value().to_vector<float>();
    o.running_mean = net.norm->running_mean->to_vector<float>();
    o.running_var = net.norm->running_var->to_vector<float>();
  }
  o.training = net.model->training();
  if (c.act == Activation::kHardtanh) o.act_low = -1, o.act_high = 1;
  if (c.act == Activation::kReLU || c.act == Activation::kReLU6) o.act_low = 0;
  if (c.act == Activation::kReLU6) o.act_high = 6;
  o.pool = c.pool;
  for (int64_t k = 0; k < o.channels() && c.fold != "scale"; ++k) {
    const double f = o.gamma[k] / std::sqrt(o.running_var[k] + static_cast<double>(o.eps));
    o.factor.push_back(f);
  }
  // A dead channel takes the largest factor of the others.
  double most = 0;
  for (const double f : o.factor) most = std::max(most, std::fabs(f));
  for (double& f : o.factor) {
    if (std::fabs(f) < std::ldexp(1.0, -20)) f = std::copysign(most > 0 ? most : 1.0, f);
  }
  o.bits = c.weight_bits;
  o.affine = c.affine();
  o.unsigned_codes = c.unsigned_codes();
  o.per_channel = c.per_channel;
  o.learned = c.learned();
  if (o.learned)
    o.w_scale = net.model->state_dict().at("layer.weight_fake_quant.scale").to_vector<float>();
  return o;
}

// fold "ema": training normalises with the running statistics that the forward has left.
inline void take_statistics(const Case& c, Net& net, LayerOracle& o) {
  if (c.fold != "ema") return;
  o.training = false;
  o.running_mean = net.norm->running_mean->to_vector<float>();
  o.running_var = net.norm->running_var->to_vector<float>();
}

// Input and output grids as the net stored them in its forward.
inline void take_grids(Net& net, LayerOracle& o, const Codes& y) {
  const QuantParams in = net.quantizer_of(QuantType::kInput).params();
  o.x_scale = static_cast<double>(in.scale);
  o.x_zero = in.zero_point;
  for (const float v : net.x.to_vector<float>())
    o.x_codes.push_back(clamp64(nearest_even(v / in.scale) + o.x_zero, in.qmin, in.qmax));
  o.y_scale = y.params.scale;
  o.y_zero = y.params.zero_point;
  o.y_low = y.params.qmin;
  o.y_high = y.params.qmax;
}

inline int64_t differing(const std::vector<uint8_t>& got, const std::vector<int64_t>& want) {
  int64_t n = got.size() == want.size() ? 0 : -1;
  for (size_t i = 0; i < want.size() && n >= 0; ++i) n += got[i] != want[i];
  return n;
}

}  // namespace halftone::test
