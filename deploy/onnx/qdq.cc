#include "deploy/onnx/qdq.h"

#include <algorithm>
#include <cmath>

#include "deploy/onnx/integer_form.h"

namespace halftone::onnx_format {
namespace {

using runtime::Op;
using runtime::OpKind;
using runtime::OutputChannel;
using runtime::Value;

constexpr int kOpsetInt4 = 21;

// The constants of a value's grid.
std::vector<std::string> with_grid(Writing& w, const std::string& x, int32_t value) {
  const Value& v = w.program.values[value];
  const std::string& name = w.tensor(value);
  return {
      x, w.graph.constant<float>(name + "/scale", {}, {v.scale}),
      w.graph.constant<uint8_t>(name + "/zero_point", {}, {static_cast<uint8_t>(v.zero_point)})};
}

// Input i as reals, for this operation alone: runtimes fuse what has one reader.
std::string reals(Writing& w, const Op& op, size_t i = 0) {
  const int32_t v = op.inputs.at(i);
  const std::string name = w.tensor(op.output) + "/input" + (i == 0 ? "" : std::to_string(i));
  return w.graph.node("DequantizeLinear", with_grid(w, w.tensor(v), v), name);
}

// The result's codes of reals; `to`: a tensor's name.
std::string quantized(Writing& w, const Op& op, const std::string& real, const std::string& to) {
  return w.graph.node("QuantizeLinear", with_grid(w, real, op.output), to);
}

// The same, clipped to what the operation's bounds leave of 0 .. 255.
std::string clipped(Writing& w, const Op& op, const std::string& real, const std::string& to) {
  const int32_t z = w.out(op).zero_point;
  const int32_t low = static_cast<int32_t>(op.low) + z, high = static_cast<int32_t>(op.high) + z;
  if (low == 0 && high == 255) return quantized(w, op, real, to);
  const std::string q = quantized(w, op, real, to + "/quantized");
  const auto bound = [&](const char* name, int32_t code) {
    return w.graph.constant<uint8_t>(to + name, {}, {static_cast<uint8_t>(code)});
  };
  return w.graph.node("Clip", {q, bound("/low", low), bound("/high", high)}, to);
}

// table[code], or table[256 c + code].
std::string looked_up(Writing& w, const std::vector<uint8_t>& table, const std::string& codes,
                      int32_t value, const std::string& to) {
  std::string index =
      w.graph.node("Cast", {codes}, to + "/index", {{"to", int64_t{onnx::TensorProto::INT32}}});
  const auto size = static_cast<int64_t>(table.size());
  if (size > 256) {
    std::vector<int32_t> first;
    for (int32_t c = 0; c < size / 256; ++c) first.push_back(256 * c);
    const std::string offset =
        w.graph.constant<int32_t>(to + "/offset", per_channel_dims(w, value), first);
    index = w.graph.node("Add", {index, offset}, to + "/entry");
  }
  return w.graph.node("Gather", {w.graph.constant<uint8_t>(to + "/table", {size}, table), index},
                      to, {{"axis", int64_t{0}}});
}

void write_table(Writing& w, const Op& op) {
  w.flat[op.output] = w.flat[op.inputs[0]];
  looked_up(w, op.table, w.tensor(op.inputs[0]), op.output, w.tensor(op.output));
}

// DequantizeLinear of a constant, per output channel.
template <class T>
std::string dequantized(Writing& w, const std::string& codes, const std::vector<float>& scales,
                        T zero_point = 0) {
  const auto rows = static_cast<int64_t>(scales.size());
  const std::string scale = w.graph.constant<float>(codes + "_scale", {rows}, scales);
  const std::string zero =
      w.graph.constant<T>(codes + "_zero_point", {rows}, std::vector<T>(scales.size(), zero_point));
  return w.graph.node("DequantizeLinear", {codes, scale, zero}, codes + "/real",
                      {{"axis", int64_t{0}}});
}

// Without the shift that int8 codes have, where they fit.
bool fit_int4(std::vector<int8_t>& codes, const Op& op) {
  const int32_t step = 1 << op.weights.shift;
  const auto fits = [step](int8_t code) { return code >= -8 * step && code <= 7 * step; };
  if (op.weights.bits > 4 || !std::all_of(codes.begin(), codes.end(), fits)) return false;
  for (int8_t& code : codes) code = static_cast<int8_t>(code / step);
  return true;
}

std::string weights_int4(Writing& w, const std::string& name, const Dims& dims,
                         const std::vector<int8_t>& codes, std::vector<float> scales, int shift) {
  for (float& s : scales) s *= static_cast<float>(1 << shift);
  w.graph.constant_int4(name, dims, codes);
  const auto rows = static_cast<int64_t>(scales.size());
  return w.graph.node("DequantizeLinear",
                      {name, w.graph.constant<float>(name + "_scale", {rows}, scales)},
                      name + "/real", {{"axis", int64_t{0}}});
}

// Weights and bias as reals. The bias has the scale of the accumulator.
std::vector<std::string> constants(Writing& w, const Op& op, int opset) {
  const std::string weight = w.tensor(op.output) + ".weight", bias = w.tensor(op.output) + ".bias";
  std::vector<float> scales = weight_scales(w, op).values;
  const Dims dims = weight_dims(w, op);
  auto [codes, offsets] = narrow_weights(w, op);
  std::string real;
  if (!offsets.empty()) {
    w.graph.constant<uint8_t>(weight, dims, as_uint8(codes));
    real = dequantized<uint8_t>(w, weight, scales, static_cast<uint8_t>(128 - offsets[0]));
  } else if (opset >= kOpsetInt4 && fit_int4(codes, op)) {
    real = weights_int4(w, weight, dims, codes, scales, op.weights.shift);
  } else {
    w.graph.constant<int8_t>(weight, dims, codes);
    real = dequantized<int8_t>(w, weight, scales);
  }
  std::vector<int32_t> biases;
  for (const OutputChannel& c : op.channels) biases.push_back(c.bias);
  for (float& s : scales) s *= w.in(op).scale;
  w.graph.constant<int32_t>(bias, {dims[0]}, biases);
  return {real, dequantized<int32_t>(w, bias, scales)};
}

// The input as (N, C) codes, and those dequantized.
std::string flattened(Writing& w, const Op& op) {
  const int32_t v = op.inputs[0];
  const std::string x = reals(w, op);
  if (w.flat[v]) return x;
  const std::string& to = w.tensor(op.output);
  const std::string flat = w.graph.node("Flatten", {x}, to + "/flatten", {{"axis", int64_t{1}}});
  const std::string q = w.graph.node("QuantizeLinear", with_grid(w, flat, v), to + "/flat_codes");
  return w.graph.node("DequantizeLinear", with_grid(w, q, v), to + "/flat");
}

void write_linear(Writing& w, const Op& op, int opset) {
  std::vector<std::string> in{flattened(w, op)};
  for (const std::string& constant : constants(w, op, opset)) in.push_back(constant);
  const bool bounded = is_bounded(op);
  const std::string& to = w.tensor(op.output);
  const bool floats = w.out(op).is_float;
  const std::string real = floats && !bounded ? "logits" : to + "/real";
  w.graph.node("Gemm", in, real, {{"transB", int64_t{1}}});
  w.flat[op.output] = true;
  if (!floats) clipped(w, op, real, to);
  if (floats && bounded) finish_float(w, op, real);
}

// 255 - code in the channels where `least` of a window counts.
std::vector<uint8_t> reversing_table(const Op& op) {
  std::vector<uint8_t> table;
  for (const OutputChannel& c : op.channels) {
    for (int32_t code = 0; code < 256; ++code)
      table.push_back(static_cast<uint8_t>(c.takes_min ? 255 - code : code));
  }
  return table;
}

// The largest code of each window; the epilogue does not fall, so that is the code of the largest
// accumulator. Where the least counts, codes are reversed before and after.
void pooled(Writing& w, const Op& op, std::string codes) {
  const std::string& to = w.tensor(op.output);
  const bool reverses = std::any_of(op.channels.begin(), op.channels.end(),
                                    [](const OutputChannel& c) { return c.takes_min; });
  if (reverses) codes = looked_up(w, reversing_table(op), codes, op.output, to + "/reversed");
  const std::string x =
      w.graph.node("DequantizeLinear", with_grid(w, codes, op.output), to + "/pool_input");
  const std::string y = w.graph.node("MaxPool", {x}, to + "/pool",
                                     pool_attributes(op.pool, op.unpooled, w.out(op).shape));
  codes = quantized(w, op, y, reverses ? to + "/pooled" : to);
  if (reverses) looked_up(w, reversing_table(op), codes, op.output, to);
}

// Without a quantizer behind it runtimes would compute it in floats: here are its integers.
void write_float_convolution(Writing& w, const Op& op) {
  if (op.pools) refuse(op, "a pooled convolution with a float result");
  const std::string& to = w.tensor(op.output);
  const bool flat = is_linear(w, op), bounded = is_bounded(op);
  std::string y = scaled_sums(w, op, flat || bounded ? to + "/real" : "logits");
  w.flat[op.output] = flat;
  if (flat) y = w.graph.node("Flatten", {y}, bounded ? to + "/flat" : "logits");
  if (bounded) finish_float(w, op, y);
}

// Between DequantizeLinear and QuantizeLinear; codes of this name.
std::string convolved(Writing& w, const Op& op, int opset, const std::string& to) {
  const std::string& name = w.tensor(op.output);
  std::vector<std::string> in{
      w.graph.node("DequantizeLinear", with_grid(w, image(w, op), op.inputs[0]), name + "/input")};
  for (const std::string& constant : constants(w, op, opset)) in.push_back(constant);
  const std::string real =
      w.graph.node("Conv", in, name + "/real", convolution_attributes(op, has_own_padding(w, op)));
  return clipped(w, op, real, to);
}

// A multiplier that no scales make is one of a file that was changed, or of an average of windows:
// then, and where channels have zero points of their own, the integers are written down.
void write_convolution(Writing& w, const Op& op, int opset) {
  const bool exact = weight_scales(w, op).exact && has_one_zero_point(w, op);
  const bool floats = w.out(op).is_float;
  if (exact && is_linear(w, op)) return write_linear(w, op, opset);
  if (floats) return write_float_convolution(w, op);
  const std::string to = w.tensor(op.output) + (op.pools ? "/unpooled" : "");
  const std::string codes = exact ? convolved(w, op, opset, to) : rounded(w, op, to);
  if (op.pools) pooled(w, op, codes);
}

void write_max_pool(Writing& w, const Op& op) {
  const std::string& to = w.tensor(op.output);
  const std::string y = w.graph.node("MaxPool", {reals(w, op)}, to + "/real",
                                     pool_attributes(op.window, w.in(op).shape, w.out(op).shape));
  quantized(w, op, y, to);
}

void write_average_pool(Writing& w, const Op& op) {
  const Value &in = w.in(op), &out = w.out(op);
  const float pixels = static_cast<float>(in.shape.height * in.shape.width);
  const OutputChannel& c = op.channels[0];
  if (c.bias != 0 || c.constant || c.multiplier != in.scale / (out.scale * pixels))
    refuse(op, "an average with constants of its own");
  const std::string& to = w.tensor(op.output);
  clipped(w, op, w.graph.node("GlobalAveragePool", {reals(w, op)}, to + "/real"), to);
}

void write_add(Writing& w, const Op& op) {
  if (w.in(op, 0).scale != w.out(op).scale || w.in(op, 1).scale != w.out(op).scale)
    refuse(op, "a sum of codes on several scales");
  check_same_rank(w, op);
  w.flat[op.output] = w.flat[op.inputs[0]];
  const std::string& to = w.tensor(op.output);
  clipped(w, op, w.graph.node("Add", {reals(w, op, 0), reals(w, op, 1)}, to + "/real"), to);
}

void write_concat(Writing& w, const Op& op) {
  check_same_rank(w, op);
  w.flat[op.output] = w.flat[op.inputs[0]];
  std::vector<std::string> parts;
  for (size_t i = 0; i < op.inputs.size(); ++i) parts.push_back(reals(w, op, i));
  const std::string& to = w.tensor(op.output);
  quantized(w, op, w.graph.node("Concat", parts, to + "/real", {{"axis", int64_t{1}}}), to);
}

// On codes, as they are.
void write_subsample_pad(Writing& w, const Op& op) {
  const std::string& to = w.tensor(op.output);
  const auto zero = static_cast<uint8_t>(w.in(op).zero_point);
  const std::string x = subsampled(w, op);
  w.graph.node(
      "Pad", {x, channel_pads(w, op), w.graph.constant<uint8_t>(to + "/pad_code", {}, {zero})}, to);
}

OpWriters writers(int opset) {
  return {{OpKind::kTable, write_table},
          {OpKind::kConvolution,
           [opset](Writing& w, const Op& op) { write_convolution(w, op, opset); }},
          {OpKind::kMaxPool, write_max_pool},
          {OpKind::kAveragePool, write_average_pool},
          {OpKind::kAdd, write_add},
          {OpKind::kConcat, write_concat},
          {OpKind::kSubsamplePad, write_subsample_pad}};
}

}  // namespace

Graph write_qdq(const runtime::Program& program, int opset) {
  Writing w(program, opset, opset >= kOpsetInt4 ? 10 : 8);
  w.graph.add_input(w.tensor(0), onnx::TensorProto::UINT8, w.dims(0));
  write_ops(writers(opset), "onnx", w);
  const auto last = static_cast<int32_t>(program.values.size()) - 1;
  if (!program.result().is_float) {
    w.graph.node("DequantizeLinear", with_grid(w, w.tensor(last), last), "logits");
  }
  w.graph.add_output("logits", onnx::TensorProto::FLOAT, w.dims(last));
  return std::move(w.graph);
}

}  // namespace halftone::onnx_format
