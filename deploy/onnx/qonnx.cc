#include "deploy/onnx/qonnx.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace halftone::onnx_format {
namespace {

using runtime::Op;
using runtime::OpKind;
using runtime::OutputChannel;
using runtime::Value;

constexpr char kDomain[] = "qonnx.custom_op.general";
constexpr int kOpset = 13;

// A Quant node: code = round(clamp(x / scale + zero_point)) between low() and high().
struct Quant {
  std::vector<float> scale;
  Dims dims;  // of the scale
  int32_t zero_point = 0, bits = 8;
  std::vector<float> zero_points;  // instead of zero_point: one for each scale
  bool is_signed = false, narrow = false;
  int32_t low() const { return is_signed ? -(1 << (bits - 1)) + narrow : 0; }
  int32_t high() const { return is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1; }
};

std::string quantized(Writing& w, const Quant& q, const std::string& x, const std::string& to) {
  const auto scalar = [&](const char* name, int32_t v) {
    return w.graph.constant<float>(to + name, {}, {static_cast<float>(v)});
  };
  const std::string zero = q.zero_points.empty()
                               ? scalar("/zero_point", q.zero_point)
                               : w.graph.constant<float>(to + "/zero_point", q.dims, q.zero_points);
  return w.graph.node(
      "Quant",
      {x, w.graph.constant<float>(to + "/scale", q.dims, q.scale), zero, scalar("/bits", q.bits)},
      to,
      {{"signed", int64_t{q.is_signed}},
       {"narrow", int64_t{q.narrow}},
       {"rounding_mode", std::string("ROUND")}},
      kDomain);
}

// The grid of a value: signed around zero where its range is; otherwise unsigned from 0, in as many
// bits as that takes. `first`: the value's code at Quant's lowest.
Quant grid_of(const Value& v, int32_t& first) {
  Quant q;
  q.scale = {v.scale};
  q.is_signed = true;
  for (q.bits = 2; q.bits <= 8; ++q.bits) {
    for (const bool narrow : {false, true}) {
      q.narrow = narrow;
      if (q.low() + v.zero_point == v.low && q.high() + v.zero_point == v.high) {
        first = v.low;
        return q;
      }
    }
  }
  q.is_signed = q.narrow = false;
  for (q.bits = 1; q.high() < v.high - v.low; ++q.bits) {
  }
  q.zero_point = v.zero_point - v.low;
  first = v.low;
  return q;
}

// The result, within the operation's bounds, on its grid.
void finish(Writing& w, const Op& op, const std::string& real) {
  const Value& v = w.out(op);
  const std::string& to = w.tensor(op.output);
  int32_t first = 0;
  const Quant q = grid_of(v, first);
  const int32_t low = static_cast<int32_t>(op.low), high = static_cast<int32_t>(op.high);
  const bool bounded_low = low + v.zero_point > first;
  const bool bounded_high = high + v.zero_point < first + q.high() - q.low();
  std::string x = real;
  if (bounded_low && !bounded_high && low == 0) {
    x = w.graph.node("Relu", {real}, to + "/relu");
  } else if (bounded_low || bounded_high) {
    const auto bound = [&](const char* name, int32_t steps) {
      return w.graph.constant<float>(to + name, {}, {v.scale * static_cast<float>(steps)});
    };
    x = w.graph.node("Clip", {real, bound("/low", low), bound("/high", high)}, to + "/clip");
  }
  quantized(w, q, x, to);
}

float real_of(const Value& v, int32_t code) {
  return v.scale * static_cast<float>(code - v.zero_point);
}

// Whether the table is the result's quantizer, on all codes that the input has: by ONNX's rule for
// ties or by QONNX's.
bool is_quantizer(const Writing& w, const Op& op, const std::vector<float>& normalisation) {
  const Value &in = w.in(op), &out = w.out(op);
  const quant_math::Grid grid{out.scale, out.zero_point, out.low, out.high};
  const bool image = op.inputs[0] == 0;
  const size_t channels = image ? normalisation.size() / 256 : op.table.size() / 256;
  bool onnx = true, qonnx = true;
  for (size_t c = 0; c < channels; ++c) {
    for (int32_t code = in.low; code <= in.high; ++code) {
      const float real =
          image ? normalisation[256 * c + static_cast<size_t>(code)] : real_of(in, code);
      const uint8_t made =
          op.table[(op.table.size() > 256 ? 256 * c : 0) + static_cast<size_t>(code)];
      onnx = onnx && quant_math::quantize(real, grid) == made;
      qonnx = qonnx && quant_math::quantize_nni(real, grid) == made;
    }
  }
  return onnx || qonnx;
}

void write_table(Writing& w, const Op& op, const std::vector<float>& normalisation) {
  if (!is_quantizer(w, op, normalisation))
    refuse(op, "steps between two quantizers, which format qonnx has no table for");
  w.flat[op.output] = w.flat[op.inputs[0]];
  int32_t first = 0;
  quantized(w, grid_of(w.out(op), first), w.tensor(op.inputs[0]), w.tensor(op.output));
}

// One per output channel, before a weight of this rank.
Dims row_dims(const Dims& weight) {
  Dims dims(weight.size(), 1);
  dims[0] = weight[0];
  return dims;
}

bool is_bipolar(const Op& op, const std::vector<int16_t>& codes) {
  return op.weights.bits == 1 && op.weights.low == -1 && op.weights.step == 2 &&
         std::find(codes.begin(), codes.end(), 0) == codes.end();
}

// The stored levels around their zero points; negated ones from the other end.
Quant grid_with_zero_points(const Op& op) {
  Quant q;
  q.bits = op.weights.bits;
  for (size_t c = 0; c < op.channels.size(); ++c) {
    const int32_t zero = op.weights.zero_points[c];
    q.zero_points.push_back(static_cast<float>(op.channels[c].negated ? q.high() - zero : zero));
  }
  return q;
}

// As wide as the stored levels, or the negated ones, want.
Quant weight_grid(const Op& op, const std::vector<int16_t>& codes) {
  if (!op.weights.zero_points.empty()) return grid_with_zero_points(op);
  const int32_t step = 1 << op.weights.shift;
  const int32_t most = *std::max_element(codes.begin(), codes.end()) / step;
  Quant q;
  q.is_signed = true;
  for (q.bits = 2; q.low() > op.weights.low || q.high() < most; ++q.bits) {
  }
  q.narrow = q.low() + 1 == op.weights.low;
  return q;
}

std::string weights(Writing& w, const Op& op, const std::vector<float>& scales) {
  const std::string name = w.tensor(op.output) + ".weight";
  const Dims dims = weight_dims(w, op);
  const int64_t row = runtime::weights_per_channel(w.program, op);
  const std::vector<int16_t> codes = onnx_order(w, op, runtime::unpack_weights(op, dims[0] * row));
  std::vector<float> reals;
  for (size_t i = 0; i < codes.size(); ++i)
    reals.push_back(scales[i / static_cast<size_t>(row)] * static_cast<float>(codes[i]));
  w.graph.constant<float>(name, dims, reals);
  Quant q = weight_grid(op, codes);
  q.dims = row_dims(dims);
  for (const float s : scales) q.scale.push_back(s * static_cast<float>(1 << op.weights.shift));
  if (!is_bipolar(op, codes)) return quantized(w, q, name, name + "_quant");
  const std::string scale = w.graph.constant<float>(name + "_scale", q.dims, q.scale);
  return w.graph.node("BipolarQuant", {name, scale}, name + "_quant", {}, kDomain);
}

// Weights and bias, whose grid is the accumulator's.
std::vector<std::string> constants(Writing& w, const Op& op) {
  const std::vector<float> scales = weight_scales(w, op).values;
  const std::string name = w.tensor(op.output) + ".bias", weight = weights(w, op, scales);
  Quant q;
  q.bits = 32;
  q.is_signed = true;
  std::vector<float> reals;
  for (size_t c = 0; c < scales.size(); ++c) {
    q.scale.push_back(w.in(op).scale * scales[c]);
    reals.push_back(q.scale[c] * static_cast<float>(op.channels[c].bias));
  }
  q.dims = {static_cast<int64_t>(scales.size())};
  w.graph.constant<float>(name, q.dims, reals);
  return {weight, quantized(w, q, name, name + "_quant")};
}

// The largest of a window; where the layer takes the least, through a change of signs.
std::string pooled(Writing& w, const Op& op, const std::string& real) {
  const std::string& to = w.tensor(op.output);
  std::vector<float> signs;
  for (const OutputChannel& c : op.channels) signs.push_back(c.takes_min ? -1.0f : 1.0f);
  const bool changes = std::count(signs.begin(), signs.end(), -1.0f) > 0;
  const auto changed = [&](const std::string& x, const char* name) {
    if (!changes) return x;
    return w.graph.node(
        "Mul", {x, w.graph.constant<float>(to + "/signs", per_channel_dims(w, op.output), signs)},
        to + name);
  };
  const std::string pool = w.graph.node("MaxPool", {changed(real, "/signed")}, to + "/pool",
                                        pool_attributes(op.pool, op.unpooled, w.out(op).shape));
  return changed(pool, "/pooled");
}

std::string image(Writing& w, const Op& op, bool own_padding) {
  const std::string& to = w.tensor(op.output);
  const std::string x = w.flat[op.inputs[0]] ? as_image(w, op) : w.tensor(op.inputs[0]);
  if (!own_padding) return x;
  const integer::Window& o = op.window;
  const Dims pads{0, 0, o.pad_h, o.pad_w, 0, 0, o.pad_h, o.pad_w};
  return w.graph.node(
      "Pad",
      {x, w.graph.constant<int64_t>(to + "/pads", {8}, pads),
       w.graph.constant<float>(to + "/padding", {}, {real_of(w.in(op), op.pad_code)})},
      to + "/padded");
}

std::string multiplied(Writing& w, const Op& op) {
  const std::string& to = w.tensor(op.output);
  std::vector<std::string> in;
  if (is_linear(w, op)) {
    const bool flat = w.flat[op.inputs[0]];
    w.flat[op.output] = true;
    in = {w.tensor(op.inputs[0])};
    if (!flat) in[0] = w.graph.node("Flatten", in, to + "/flat", {{"axis", int64_t{1}}});
    for (const std::string& c : constants(w, op)) in.push_back(c);
    return w.graph.node("Gemm", in, to + "/real", {{"transB", int64_t{1}}});
  }
  const bool own_padding = has_own_padding(w, op);
  in = {image(w, op, own_padding)};
  for (const std::string& c : constants(w, op)) in.push_back(c);
  const std::string y =
      w.graph.node("Conv", in, to + "/real", convolution_attributes(op, own_padding));
  return op.pools ? pooled(w, op, y) : y;
}

void write_convolution(Writing& w, const Op& op) {
  const std::string y = multiplied(w, op);
  if (!w.out(op).is_float) return finish(w, op, y);
  if (is_bounded(op)) return finish_float(w, op, y);
  w.graph.node("Identity", {y}, "logits");
}

void write_max_pool(Writing& w, const Op& op) {
  w.graph.node("MaxPool", {w.tensor(op.inputs[0])}, w.tensor(op.output),
               pool_attributes(op.window, w.in(op).shape, w.out(op).shape));
}

void write_average_pool(Writing& w, const Op& op) {
  const std::string& to = w.tensor(op.output);
  finish(w, op, w.graph.node("GlobalAveragePool", {w.tensor(op.inputs[0])}, to + "/real"));
}

void write_add(Writing& w, const Op& op) {
  check_same_rank(w, op);
  w.flat[op.output] = w.flat[op.inputs[0]];
  const std::string& to = w.tensor(op.output);
  const std::vector<std::string> in{w.tensor(op.inputs[0]), w.tensor(op.inputs[1])};
  finish(w, op, w.graph.node("Add", in, to + "/real"));
}

void write_concat(Writing& w, const Op& op) {
  check_same_rank(w, op);
  w.flat[op.output] = w.flat[op.inputs[0]];
  std::vector<std::string> parts;
  for (const int32_t v : op.inputs) parts.push_back(w.tensor(v));
  w.graph.node("Concat", parts, w.tensor(op.output), {{"axis", int64_t{1}}});
}

void write_subsample_pad(Writing& w, const Op& op) {
  const std::string& to = w.tensor(op.output);
  const std::string x = subsampled(w, op);
  w.graph.node("Pad", {x, channel_pads(w, op), w.graph.constant<float>(to + "/zero", {}, {0.0f})},
               to);
}

// The reals of byte 0 and of byte 255, per channel: between them they rise evenly.
void describe_image(Writing& w, const std::vector<float>& normalisation) {
  nlohmann::json low, high;
  for (size_t c = 0; c < normalisation.size() / 256; ++c) {
    low.push_back(normalisation[256 * c]);
    high.push_back(normalisation[256 * c + 255]);
  }
  w.graph.describe("image_of_byte_0", low.dump());
  w.graph.describe("image_of_byte_255", high.dump());
}

}  // namespace

Graph write_qonnx(const runtime::Program& program, const std::vector<float>& normalisation) {
  Writing w(program, kOpset, 8);
  w.graph.import_domain(kDomain, 1);
  describe_image(w, normalisation);
  w.graph.add_input(w.tensor(0), onnx::TensorProto::FLOAT, w.dims(0));
  write_ops({{OpKind::kTable, [&](Writing& x, const Op& op) { write_table(x, op, normalisation); }},
             {OpKind::kConvolution, write_convolution},
             {OpKind::kMaxPool, write_max_pool},
             {OpKind::kAveragePool, write_average_pool},
             {OpKind::kAdd, write_add},
             {OpKind::kConcat, write_concat},
             {OpKind::kSubsamplePad, write_subsample_pad}},
            "qonnx", w);
  const auto last = static_cast<int32_t>(program.values.size()) - 1;
  if (!program.result().is_float) w.graph.node("Identity", {w.tensor(last)}, "logits");
  w.graph.add_output("logits", onnx::TensorProto::FLOAT, w.dims(last));
  return std::move(w.graph);
}

}  // namespace halftone::onnx_format
