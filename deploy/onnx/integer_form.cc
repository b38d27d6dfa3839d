#include "deploy/onnx/integer_form.h"

#include <algorithm>

namespace halftone::onnx_format {

using runtime::Op;
using runtime::OutputChannel;

runtime::NarrowWeights narrow_weights(const Writing& w, const Op& op) {
  const int64_t row = runtime::weights_per_channel(w.program, op);
  runtime::NarrowWeights narrow =
      runtime::narrow_weights(op, row * static_cast<int64_t>(op.channels.size()));
  narrow.codes = onnx_order(w, op, narrow.codes);
  return narrow;
}

bool has_one_zero_point(const Writing& w, const Op& op) {
  const std::vector<int32_t> offsets = narrow_weights(w, op).offsets;
  return std::all_of(offsets.begin(), offsets.end(),
                     [&](int32_t offset) { return offset == offsets[0]; });
}

std::vector<uint8_t> as_uint8(const std::vector<int8_t>& codes) {
  std::vector<uint8_t> out;
  for (const int8_t code : codes) out.push_back(static_cast<uint8_t>(code + 128));
  return out;
}

namespace {

// Codes with the layer's own padding around them.
std::string padded(Writing& w, const Op& op, const std::string& codes, const Dims& pads,
                   int32_t code) {
  const std::string& to = w.tensor(op.output);
  return w.graph.node(
      "Pad",
      {codes, w.graph.constant<int64_t>(to + "/pads", {8}, pads),
       w.graph.constant<uint8_t>(to + "/pad_code", {}, {static_cast<uint8_t>(code)})},
      to + "/padded");
}

}  // namespace

std::string image(Writing& w, const Op& op) {
  const int32_t v = op.inputs[0];
  std::string codes = w.tensor(v);
  const std::string& to = w.tensor(op.output);
  if (w.flat[v]) codes = as_image(w, op);
  const integer::Window& o = op.window;
  if (!has_own_padding(w, op)) return codes;
  return padded(w, op, codes, {0, 0, o.pad_h, o.pad_w, 0, 0, o.pad_h, o.pad_w}, op.pad_code);
}

namespace {

// The sums of products of codes with uint8 weights of one zero point, as ONNX Runtime wants them.
std::string products(Writing& w, const Op& op, const std::string& codes, const Dims& dims,
                     const std::vector<uint8_t>& weights, int32_t zero_point,
                     const std::string& name) {
  const auto scalar = [&](const std::string& constant, int32_t v) {
    return w.graph.constant<uint8_t>(constant, {}, {static_cast<uint8_t>(v)});
  };
  return w.graph.node("ConvInteger",
                      {codes, w.graph.constant<uint8_t>(name + ".weight", dims, weights),
                       scalar(w.tensor(op.output) + "/input_zero_point", w.in(op).zero_point),
                       scalar(name + ".weight_zero_point", zero_point)},
                      name + "/products", convolution_attributes(op, has_own_padding(w, op)));
}

// Of weights that are their codes and an offset of the channel: offset times the sum of the window,
// which a filter of ones makes.
std::string window_sums(Writing& w, const Op& op, const std::string& codes, Dims dims,
                        const std::vector<int32_t>& offsets) {
  const std::string& to = w.tensor(op.output);
  const int64_t rows = dims[0];
  // One filter for each group, where its sums then fit all channels.
  if (op.groups == 1) dims[0] = 1;
  const int64_t count = dims[0] * dims[1] * dims[2] * dims[3];
  const std::vector<uint8_t> ones(static_cast<size_t>(count), 1);
  const std::string sums = products(w, op, codes, dims, ones, 0, to + "/window");
  return w.graph.node(
      "Mul", {sums, w.graph.constant<int32_t>(to + "/window_factor", {rows, 1, 1}, offsets)},
      to + "/window_sums");
}

// The sums of products and biases, in integers.
std::string integer_sums(Writing& w, const Op& op) {
  const std::string& to = w.tensor(op.output);
  const int64_t rows = static_cast<int64_t>(op.channels.size());
  const Dims dims{rows, w.in(op).shape.channels / op.groups, op.window.kernel_h,
                  op.window.kernel_w};
  const auto [weights, offsets] = narrow_weights(w, op);
  const bool one = has_one_zero_point(w, op);
  const std::string codes = image(w, op);
  const int32_t zero_point = one && !offsets.empty() ? 128 - offsets[0] : 128;
  std::string acc = products(w, op, codes, dims, as_uint8(weights), zero_point, to);
  if (!one) {
    const std::string sums = window_sums(w, op, codes, dims, offsets);
    acc = w.graph.node("Add", {acc, sums}, to + "/all_products");
  }
  std::vector<int32_t> biases;
  for (const OutputChannel& c : op.channels) biases.push_back(c.bias);
  return w.graph.node("Add", {acc, w.graph.constant<int32_t>(to + ".bias", {rows, 1, 1}, biases)},
                      to + "/sums");
}

}  // namespace

std::string scaled_sums(Writing& w, const Op& op, const std::string& to) {
  const std::string& name = w.tensor(op.output);
  const auto rows = static_cast<int64_t>(op.channels.size());
  std::vector<float> multipliers;
  for (const OutputChannel& c : op.channels) multipliers.push_back(c.multiplier);
  const std::string sums = w.graph.node("Cast", {integer_sums(w, op)}, name + "/float_sums",
                                        {{"to", int64_t{onnx::TensorProto::FLOAT}}});
  return w.graph.node(
      "Mul", {sums, w.graph.constant<float>(name + "/multiplier", {rows, 1, 1}, multipliers)}, to);
}

std::string rounded(Writing& w, const Op& op, const std::string& to) {
  const std::string t = w.graph.node("Round", {scaled_sums(w, op, to + "/scaled")}, to + "/round");
  const auto scalar = [&](const char* name, float v) {
    return w.graph.constant<float>(to + name, {}, {v});
  };
  const std::string clip =
      w.graph.node("Clip", {t, scalar("/low", op.low), scalar("/high", op.high)}, to + "/steps");
  const auto zero = static_cast<float>(w.out(op).zero_point);
  const std::string code = w.graph.node("Add", {clip, scalar("/zero", zero)}, to + "/float_codes");
  return w.graph.node("Cast", {code}, to, {{"to", int64_t{onnx::TensorProto::UINT8}}});
}

}  // namespace halftone::onnx_format
