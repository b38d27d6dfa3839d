// A program on its way to ONNX: what the writers of single operations share, whatever the format.
// ONNX's images are (N, C, H, W), the program's are (H, W, C). Inside //deploy/onnx only.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "deploy/onnx/graph.h"
#include "deploy/runtime/program.h"

namespace halftone::onnx_format {

struct Writing {
  Writing(const runtime::Program& p, int opset, int ir_version);

  const runtime::Value& in(const runtime::Op& op, size_t i = 0) const;
  const runtime::Value& out(const runtime::Op& op) const { return program.values[op.output]; }
  const std::string& tensor(int32_t value) const { return tensors[value]; }
  // (N, C, H, W), or (N, C) behind a Gemm.
  Dims dims(int32_t value) const;

  const runtime::Program& program;
  Graph graph;
  std::vector<std::string> tensors;  // names, by value: unique, "image" first
  std::vector<bool> flat;            // by value: (N, C)
};

// One per kind of operation: a format is a table of these.
using OpWriter = std::function<void(Writing&, const runtime::Op&)>;
using OpWriters = std::map<runtime::OpKind, OpWriter>;
// All operations in order. Throws for a kind that the format lacks.
void write_ops(const OpWriters& writers, const std::string& format, Writing& w);

// The Error of what has no form in the format.
[[noreturn]] void refuse(const runtime::Op& op, const std::string& why);

// Throws where one input is (N, C, 1, 1) and another (N, C).
void check_same_rank(const Writing& w, const runtime::Op& op);

// The first input, (N, C), as (N, C, 1, 1).
std::string as_image(Writing& w, const runtime::Op& op);
// Padding other than the code of zero: the convolution cannot do it.
bool has_own_padding(const Writing& w, const runtime::Op& op);
// Of a float result: whether it has bounds, and the Clip to them that makes "logits".
bool is_bounded(const runtime::Op& op);
void finish_float(Writing& w, const runtime::Op& op, const std::string& real);
// kSubsamplePad: every stride-th pixel, and the constant of Pad that adds the channels.
std::string subsampled(Writing& w, const runtime::Op& op);
std::string channel_pads(Writing& w, const runtime::Op& op);

// A convolution whose window is its whole input: Gemm.
bool is_linear(const Writing& w, const runtime::Op& op);
std::vector<Attribute> convolution_attributes(const runtime::Op& op, bool padded);
std::vector<Attribute> pool_attributes(const integer::Window& w, const integer::Image& in,
                                       const integer::Image& out);
// (O, kh, kw, C / groups) to (O, C / groups, kh, kw); of a Gemm (O, kh kw C) to (O, C kh kw).
Dims weight_dims(const Writing& w, const runtime::Op& op);
template <class T>
std::vector<T> onnx_order(const Writing& w, const runtime::Op& op, const std::vector<T>& codes) {
  const int64_t taps = op.window.taps(), channels = w.in(op).shape.channels / op.groups;
  std::vector<T> out(codes.size());
  for (int64_t i = 0; i < static_cast<int64_t>(codes.size()); ++i) {
    const int64_t c = i % channels, tap = i / channels % taps, row = i / channels / taps;
    out[(row * channels + c) * taps + tap] = codes[i];
  }
  return out;
}

// Per output channel the scale s_w of which fl(fl(s_x s_w) / s_y) is the multiplier; s_y 0: fl(s_x
// s_w). Runtimes compute the multiplier so, and a program holds only the multiplier. exact: there
// is one for every channel, as for all multipliers that were made so; otherwise the nearest.
struct WeightScales {
  std::vector<float> values;
  bool exact = true;
};
WeightScales weight_scales(const Writing& w, const runtime::Op& op);

// Shape of a constant per channel beside a tensor of this rank.
Dims per_channel_dims(const Writing& w, int32_t value);

}  // namespace halftone::onnx_format
