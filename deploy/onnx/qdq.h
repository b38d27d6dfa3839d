// Codes between QuantizeLinear and DequantizeLinear, as ONNX Runtime fuses them to integer
// operations. Fewer than 8 bits: an integer Clip behind QuantizeLinear (QCDQ). Inside //deploy/onnx
// only.
#pragma once

#include "deploy/onnx/writing.h"

namespace halftone::onnx_format {

// Input "image": bytes. Output "logits": floats. The codes of a value are in the uint8 tensor of
// its name. opset 21: weights of up to 4 bits as int4 (which runtimes may compute in float).
Graph write_qdq(const runtime::Program& program, int opset);

}  // namespace halftone::onnx_format
