// `halftone inspect`: what a safetensors file or a run holds.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace halftone {

// {"file", "tensors": [{name, dtype, shape, bytes, min, max, mean}], "metadata", and for a
// checkpoint "run": {model, dataset, step, epoch, ...} and "quantizers": [{module, type, spec,
// scale, zero_point, min, max, initialised}]}.
nlohmann::ordered_json inspect_file(const std::string& path);
std::string inspect_table(const nlohmann::ordered_json& report);

}  // namespace halftone
