// Reals between Quant nodes of QONNX (domain qonnx.custom_op.general), for FINN, hls4ml and other
// readers of any bit width. The arithmetic is float: not the integers to the last code.
// Inside //deploy/onnx only.
#pragma once

#include "deploy/onnx/writing.h"

namespace halftone::onnx_format {

// Input "image": floats, what the bytes stand for; normalisation: of every byte, 256 per channel.
// Metadata image_of_byte_0 and image_of_byte_255 give it, as JSON lists. Output "logits".
Graph write_qonnx(const runtime::Program& program, const std::vector<float>& normalisation);

}  // namespace halftone::onnx_format
