// ONNX Runtime on an exported file, as a Party. It runs in a Python of the machine that has
// onnxruntime, by onnx_runtime.py, which is compiled in.
#pragma once

#include "deploy/parties.h"

namespace halftone {

struct OnnxRun {
  std::string python;                // the program
  std::string model;                 // the file's bytes
  std::vector<std::string> tensors;  // by value, as onnx_tensors gives; empty: only the logits
  int threads = 1;
};

// Throws Error, with what Python said, where onnxruntime is missing or does not take the file.
PartyPtr onnx_party(std::shared_ptr<const runtime::Program> program, const OnnxRun& run);

}  // namespace halftone
