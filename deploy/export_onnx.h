// A program as an ONNX file.
#pragma once

#include <string>
#include <vector>

#include "deploy/runtime/program.h"

namespace halftone {

// The bytes of the file, checked by ONNX's own checker and shape inference (opset 13; the library
// of Debian and Ubuntu knows no newer one). opset 21: weights of up to 4 bits as int4. Throws Error
// for what has no ONNX form.
std::string to_onnx(const runtime::Program& program, int opset = 13);

// The same for QONNX readers: Quant and BipolarQuant nodes, float arithmetic, the input as reals.
// normalisation: what bytes stand for (ProgramSource). Checked but for
// the nodes of its own domain.
std::string to_qonnx(const runtime::Program& program, const std::vector<float>& normalisation);

// By value of the program, the file's tensor that holds its codes (uint8); "image" first. The
// float result's is no tensor of the file: that is "logits".
std::vector<std::string> onnx_tensors(const runtime::Program& program);
// Those that operations make.
std::vector<std::string> onnx_code_tensors(const runtime::Program& program);

// The same file with these tensors as outputs, before its own: for a comparison. Throws Error when
// the bytes are no ONNX file or lack a tensor; `path` is for messages.
std::string with_outputs(const std::string& bytes, const std::vector<std::string>& tensors,
                         const std::string& path);

}  // namespace halftone
