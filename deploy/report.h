// What `halftone export` says of a program, layer by layer.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "deploy/runtime/program.h"

namespace halftone {

struct LayerReport {
  std::string layer, operation;
  std::string shape;  // of the result, (C, H, W)
  // These: of layers with weights.
  int64_t weights = 0;
  int weight_bits = 0;       // as stored
  int accumulator_bits = 0;  // signed, for the largest |acc + bias| that codes can give
  // Output channels that give one code whatever comes in: the lowest one (dead), any other
  // (saturated). From bounds, so there may be more on real images.
  int64_t dead = 0, saturated = 0;
};

struct ProgramReport {
  std::string network, file;
  std::vector<LayerReport> layers;
  int64_t file_bytes = 0, fp32_bytes = 0;
};

// fp32_bytes: of the float network's parameters and running statistics.
ProgramReport report_program(const runtime::Program& program, const std::string& file,
                             int64_t file_bytes, int64_t fp32_bytes);
nlohmann::ordered_json to_json(const ProgramReport& report);
std::string to_table(const ProgramReport& report);

}  // namespace halftone
