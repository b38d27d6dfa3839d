// A convolution in ONNX's integer operators, for what runtimes would not fuse, and codes and
// weights as both forms hold them. Inside //deploy/onnx only.
#pragma once

#include <string>
#include <vector>

#include "deploy/onnx/writing.h"

namespace halftone::onnx_format {

// The codes that a convolution reads, as an image, with its own padding around them.
std::string image(Writing& w, const runtime::Op& op);

// In ONNX's order.
runtime::NarrowWeights narrow_weights(const Writing& w, const runtime::Op& op);
// Whether one zero point serves all channels: ONNX Runtime takes no other.
bool has_one_zero_point(const Writing& w, const runtime::Op& op);
// 128 higher: ONNX Runtime wants uint8 where there is a zero point.
std::vector<uint8_t> as_uint8(const std::vector<int8_t>& codes);

// The sums times the multipliers, as floats; `to`: the tensor's name.
std::string scaled_sums(Writing& w, const runtime::Op& op, const std::string& to);
// The codes that those become, in ONNX's own operators: ties to even, bounds, zero point.
std::string rounded(Writing& w, const runtime::Op& op, const std::string& to);

}  // namespace halftone::onnx_format
