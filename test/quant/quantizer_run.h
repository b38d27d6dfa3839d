// LeNet-5 under QAT, and a network with a slot to spoil.
#pragma once

#include <unistd.h>
#include <cstdio>
#include <fstream>

#include "quant/quantizer.h"
#include "test/quant/lenet_run.h"

namespace halftone::test {

inline const char* const kConfig = R"([{"quant_types": ["weight", "input"], "quant_bits": 8,
  "op_types": ["Conv2d", "Linear"], "quant_dtype": {"weight": "int", "input": "uint"},
  "quant_scheme": {"weight": "per_channel_symmetric", "input": "per_tensor_affine"}}])";

// LeNet-5 with an optimizer and, unless config is empty, a quantizer.
using Run = QatRun;

struct TemporaryFile {
  explicit TemporaryFile(const std::string& name)
      : path("quantizer_test-" + std::to_string(getpid()) + "-" + name) {}
  ~TemporaryFile() { std::remove(path.c_str()); }
  std::string path;
};

inline std::string contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace halftone::test
