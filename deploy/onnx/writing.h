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

// A convolution whose window is its whole input: Gemm.
bool is_linear(const Writing& w, const runtime::Op& op);
std::vector<Attribute> convolution_attributes(const runtime::Op& op, bool padded);
std::vector<Attribute> pool_attributes(const integer::Window& w, const integer::Image& in,
                                       const integer::Image& out);
// (O, kh, kw, C / groups) to (O, C / groups, kh, kw); of a Gemm (O, kh kw C) to (O, C kh kw).
Dims weight_dims(const Writing& w, const runtime::Op& op);
std::vector<int8_t> onnx_order(const Writing& w, const runtime::Op& op,
                               const std::vector<int8_t>& codes);

// The scale s_w of which fl(fl(s_x s_w) / s_y) is the channel's multiplier; s_y 0: fl(s_x s_w).
// Runtimes compute the multiplier so, and a program holds only the multiplier.
std::vector<float> weight_scales(const Writing& w, const runtime::Op& op);

// Shape of a constant per channel beside a tensor of this rank.
Dims per_channel_dims(const Writing& w, int32_t value);

}  // namespace halftone::onnx_format
