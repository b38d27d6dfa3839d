// `halftone eval`: a trained network measured again.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "train/choose_device.h"
#include "train/evaluate.h"
#include "train/network.h"

namespace halftone {

struct EvaluateRequest {
  std::string op = "eval";  // what errors name
  std::string path;         // run folder, checkpoint, or a safetensors file with PyTorch's names
  std::string recipe;       // for a plain file: which model and data
  std::vector<std::string> overrides;
  std::string data;  // folder, "" as the recipe says
  bool train_split = false;
  DeviceChoice device;
};

struct EvaluateReport {
  std::string path, dataset, split, model, quantizer;  // quantizer "" in float
  int64_t step = -1;                                   // of a checkpoint
  std::map<std::string, std::string> float_layers;     // as in quantizer.h
  Evaluation result;                                   // quantized where there is a quantizer
  double seconds = 0;
};

// A run knows its recipe; only where and how fast it is measured may change. Throws, in the name of
// `op`, for other --set texts.
void check_run_overrides(const std::string& op, const std::vector<std::string>& overrides);

// What it measures, ready to run.
struct LoadedRun {
  Recipe recipe;
  Network network;
  std::shared_ptr<const Dataset> data;
  int64_t step = -1;
};
LoadedRun load_run(const EvaluateRequest& request);

EvaluateReport evaluate_run(const EvaluateRequest& request);
nlohmann::ordered_json to_json(const EvaluateReport& report);
std::string to_table(const EvaluateReport& report);

}  // namespace halftone
