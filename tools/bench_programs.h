// The networks of bench_inference as integer programs.
#pragma once

#include <string>
#include <vector>

#include "deploy/compile.h"
#include "nn/zoo/zoo.h"

namespace halftone::tools {

struct BenchProgram {
  std::string name, network, variant, quantizer, config_list;
};
const std::vector<BenchProgram>& bench_programs();

struct CompiledBench {
  CompiledProgram compiled;
  int64_t fp32_bytes = 0;  // of the network's parameters and buffers
};
// Quantized, warmed with a few batches of random images, and compiled: weights are random, which
// the engine's speed does not depend on.
CompiledBench compile_bench(const Context& context, const BenchProgram& program);

}  // namespace halftone::tools
