// `halftone import`: weights from elsewhere as a run.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace halftone {

struct ImportRequest {
  std::string path;                    // a safetensors file with PyTorch's names and layouts
  std::string model;                   // the network that they are of
  std::vector<std::string> overrides;  // model.*, data.*, name, threads, ...
  std::string out;                     // "": runs/NAME-imported-1, -2, ...
};

struct ImportReport {
  std::string path, model, out;
  int64_t tensors = 0, parameters = 0;
};

// Writes the run folder `out` whole or not at all: checkpoint.safetensors, recipe.yaml and
// model.safetensors, a float run that eval, quantize, inspect and model.weights read. Throws Error
// unless the file holds exactly the network's tensors, naming the nearest.
ImportReport import_run(const ImportRequest& request);
nlohmann::ordered_json to_json(const ImportReport& report);
std::string to_table(const ImportReport& report);

}  // namespace halftone
