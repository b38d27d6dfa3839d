#include "deploy/onnx/writing.h"

#include <cmath>
#include <set>

#include "tensor/error.h"

namespace halftone::onnx_format {

using runtime::Op;
using runtime::OutputChannel;
using runtime::Value;

Writing::Writing(const runtime::Program& p, int opset, int ir_version)
    : program(p), graph(p.network, opset, ir_version), flat(p.values.size()) {
  std::set<std::string> taken{"logits"};
  for (const Value& v : p.values) {
    std::string name = v.name;
    for (int i = 2; !taken.insert(name).second; ++i) name = v.name + "_" + std::to_string(i);
    tensors.push_back(name);
  }
}

const Value& Writing::in(const Op& op, size_t i) const { return program.values[op.inputs.at(i)]; }

Dims Writing::dims(int32_t value) const {
  const integer::Image& s = program.values[value].shape;
  if (flat[value]) return {kBatch, s.channels};
  return {kBatch, s.channels, s.height, s.width};
}

void write_ops(const OpWriters& writers, const std::string& format, Writing& w) {
  for (const Op& op : w.program.ops) {
    const auto writer = writers.find(op.kind);
    if (writer == writers.end())
      refuse(op, std::string(runtime::name_of(op.kind)) + ", which format " + format + " lacks");
    writer->second(w, op);
  }
}

void refuse(const Op& op, const std::string& why) {
  throw HALFTONE_ERROR("export").at(op.name).expected("a layer with an ONNX form").found(why);
}

void check_same_rank(const Writing& w, const Op& op) {
  for (const int32_t v : op.inputs) {
    if (w.flat[v] != w.flat[op.inputs[0]])
      refuse(op, "an image of one pixel beside a row of features");
  }
}

std::string as_image(Writing& w, const Op& op) {
  const std::string& to = w.tensor(op.output);
  const std::string shape =
      w.graph.constant<int64_t>(to + "/image_shape", {4}, {0, w.in(op).shape.channels, 1, 1});
  return w.graph.node("Reshape", {w.tensor(op.inputs[0]), shape}, to + "/image");
}

bool has_own_padding(const Writing& w, const Op& op) {
  return (op.window.pad_h > 0 || op.window.pad_w > 0) && op.pad_code != w.in(op).zero_point;
}

bool is_bounded(const Op& op) { return op.low > -INFINITY || op.high < INFINITY; }

void finish_float(Writing& w, const Op& op, const std::string& real) {
  const std::string low = w.graph.constant<float>("logits/low", {}, {op.low});
  w.graph.node("Clip", {real, low, w.graph.constant<float>("logits/high", {}, {op.high})},
               "logits");
}

std::string subsampled(Writing& w, const Op& op) {
  const std::string& to = w.tensor(op.output);
  const integer::Image& in = w.in(op).shape;
  const auto pair = [&](const char* name, int64_t a, int64_t b) {
    return w.graph.constant<int64_t>(to + name, {2}, {a, b});
  };
  const int64_t stride = op.window.stride_h;
  return w.graph.node(
      "Slice",
      {w.tensor(op.inputs[0]), pair("/starts", 0, 0), pair("/ends", in.height, in.width),
       pair("/axes", 2, 3), pair("/steps", stride, stride)},
      to + "/subsampled");
}

std::string channel_pads(Writing& w, const Op& op) {
  const int64_t before = op.pad_before;
  const int64_t after = w.out(op).shape.channels - w.in(op).shape.channels - before;
  return w.graph.constant<int64_t>(w.tensor(op.output) + "/pads", {8},
                                   {0, before, 0, 0, 0, after, 0, 0});
}

bool is_linear(const Writing& w, const Op& op) {
  const integer::Image& s = w.in(op).shape;
  const integer::Window& o = op.window;
  return o.kernel_h == s.height && o.kernel_w == s.width && o.pad_h == 0 && o.pad_w == 0 &&
         o.dilation_h == 1 && o.dilation_w == 1 && op.groups == 1 && !op.pools;
}

std::vector<Attribute> convolution_attributes(const Op& op, bool padded) {
  const integer::Window& w = op.window;
  const Dims pads{w.pad_h, w.pad_w, w.pad_h, w.pad_w}, none{0, 0, 0, 0};
  return {{"kernel_shape", Dims{w.kernel_h, w.kernel_w}},
          {"strides", Dims{w.stride_h, w.stride_w}},
          {"pads", padded ? none : pads},
          {"dilations", Dims{w.dilation_h, w.dilation_w}},
          {"group", int64_t{op.groups}}};
}

namespace {

// Padding behind the image that gives `out` windows, rounding down: the padding before it, where
// that does.
int64_t pad_end(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad) {
  if ((in + 2 * pad - kernel) / stride + 1 == out) return pad;
  return std::max<int64_t>(0, (out - 1) * stride + kernel - in - pad);
}

float multiplier_of(float s_x, float s_w, float s_y) {
  const float unit = s_x * s_w;
  return s_y > 0 ? unit / s_y : unit;
}

}  // namespace

std::vector<Attribute> pool_attributes(const integer::Window& w, const integer::Image& in,
                                       const integer::Image& out) {
  const Dims pads{w.pad_h, w.pad_w, pad_end(in.height, out.height, w.kernel_h, w.stride_h, w.pad_h),
                  pad_end(in.width, out.width, w.kernel_w, w.stride_w, w.pad_w)};
  return {{"kernel_shape", Dims{w.kernel_h, w.kernel_w}},
          {"strides", Dims{w.stride_h, w.stride_w}},
          {"pads", pads}};
}

Dims weight_dims(const Writing& w, const Op& op) {
  const auto rows = static_cast<int64_t>(op.channels.size());
  if (is_linear(w, op)) return {rows, runtime::weights_per_channel(w.program, op)};
  return {rows, w.in(op).shape.channels / op.groups, op.window.kernel_h, op.window.kernel_w};
}

WeightScales weight_scales(const Writing& w, const Op& op) {
  constexpr int kSteps = 4;  // two roundings: no preimage lies further from the real quotient
  const float s_x = w.in(op).scale, s_y = w.out(op).is_float ? 0.0f : w.out(op).scale;
  WeightScales scales;
  for (const OutputChannel& c : op.channels) {
    const double exact = static_cast<double>(c.multiplier) * (s_y > 0 ? s_y : 1.0f) / s_x;
    const auto nearest = static_cast<float>(exact);
    float s_w = nearest;
    for (int i = 0; i < kSteps; ++i) s_w = std::nextafterf(s_w, 0.0f);
    for (int i = 0; i < 2 * kSteps && multiplier_of(s_x, s_w, s_y) != c.multiplier; ++i)
      s_w = std::nextafterf(s_w, INFINITY);
    const bool found = s_w > 0 && multiplier_of(s_x, s_w, s_y) == c.multiplier;
    scales.exact = scales.exact && found;
    scales.values.push_back(found ? s_w : nearest);
  }
  return scales;
}

Dims per_channel_dims(const Writing& w, int32_t value) {
  const int64_t channels = w.program.values[value].shape.channels;
  return w.flat[value] ? Dims{1, channels} : Dims{1, channels, 1, 1};
}

}  // namespace halftone::onnx_format
