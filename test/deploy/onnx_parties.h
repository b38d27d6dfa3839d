// ONNX Runtime on a program, for tests that are built once more with HALFTONE_WITH_ONNX_RUNTIME.
#pragma once

#include <cstdlib>
#include <vector>

#include "deploy/export_onnx.h"
#include "deploy/onnx_party.h"
#include "test/catch_skip.h"

namespace halftone::test {

// Showing every tensor, beside `parties`. Where there is no onnxruntime, or the program has no ONNX
// form, the test counts as skipped and says why.
inline void add_onnx_runtime(const Context& context,
                             const std::shared_ptr<const runtime::Program>& program,
                             std::vector<PartyPtr>& parties) {
  const char* python = std::getenv("HALFTONE_PYTHON");
  try {
    OnnxRun run;
    run.python = python != nullptr ? python : "python3";
    run.threads = context.threads();
    run.tensors = onnx_tensors(*program);
    run.model = with_outputs(to_onnx(*program), onnx_code_tensors(*program), "a test's file");
    parties.push_back(onnx_party(program, run));
  } catch (const Error& e) {
    MarkSkipped(e.what(), __FILE__, __LINE__);
  }
}

}  // namespace halftone::test
