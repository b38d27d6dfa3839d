// Single layers for bench_inference: the same convolution on one bit and on 8.
#pragma once

#include <string>
#include <vector>

#include "deploy/runtime/program.h"

namespace halftone::tools {

struct BenchLayer {
  std::string name;
  int32_t side, channels, outputs, kernel;  // input side x side x channels, padding kernel / 2
};
// The shapes of the VGG's binary layers, and its first linear one.
const std::vector<BenchLayer>& bench_layers();

// Image bytes, the sign of each, and the layer; weights are arbitrary. `bits`: 1 or 8. With no
// layer, what is left: images and signs alone.
runtime::Program layer_program(const BenchLayer& layer, int bits);
runtime::Program signs_program(const BenchLayer& layer);

}  // namespace halftone::tools
