// `halftone inspect`: what a safetensors file or a run holds.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "nn/module.h"

namespace halftone {

struct InspectRequest {
  std::string path;      // run folder, checkpoint, or any safetensors file
  bool clipped = false;  // of a run: what each quantizer clips of a batch of test images
  bool folds = false;    // of a run: what folding changes, per layer, on a batch of test images
  std::string data;      // folder of the data set's files
};

// {"file", "tensors": [{name, dtype, shape, bytes, min, max, mean}], "metadata", for a checkpoint
// "run": {model, dataset, step, epoch, ...}, and for a quantized run or its export "quantizers";
// with folds "folds": [{layer, norm, fold, difference, magnitude}]}.
nlohmann::ordered_json inspect_file(const InspectRequest& request);
std::string inspect_table(const nlohmann::ordered_json& report);

// Of each quantizer in a model {where, type, spec, bits, initialised, scale, zero_point, min_val,
// max_val, and with batches "clipped": as in clipping.h}. Lists have a value per channel.
nlohmann::ordered_json describe_quantizers(Module& model, const std::vector<Tensor>& batches);
std::string quantizer_table(const nlohmann::ordered_json& quantizers);

}  // namespace halftone
