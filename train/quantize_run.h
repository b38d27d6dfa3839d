// `halftone quantize`: a trained network quantized without training.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "train/choose_device.h"
#include "train/inspect.h"
#include "train/sizes.h"

namespace halftone {

struct QuantizeRequest {
  std::string path;       // run folder, checkpoint, or a safetensors file with PyTorch's names
  std::string config;     // what load_quantizer_recipe() reads
  std::string model;      // for a plain file: the network
  std::string calibrate;  // a data set's name, or the folder of its files; "": the run's own
  std::vector<std::string> overrides;
  std::string data;  // folder of the data set's files
  int images = 0;    // of the training split; 0: quantizer.calibration_images of the config
  std::string out;   // "": runs/NAME-quantized-1, -2, ...
  bool quiet = false;
  DeviceChoice device;
};

struct QuantizeReport {
  std::string path, model, dataset, calibrated_on, quantizer, out;
  int64_t images = 0;  // of the calibration; 0: a quantizer without one
  double float_accuracy = 0, quantized_accuracy = 0;  // 0..1, on the test split
  NetworkSizes sizes;
  double seconds = 0;
  nlohmann::ordered_json quantizers;                // as in inspect.h, of the calibration's images
  std::map<std::string, std::string> float_layers;  // as in quantizer.h
};

// Writes the run folder `out` whole or not at all: checkpoint.safetensors (for eval and inspect),
// recipe.yaml, model_quantized.safetensors, calibration.json and report.json.
QuantizeReport quantize_run(const QuantizeRequest& request);
nlohmann::ordered_json to_json(const QuantizeReport& report);
std::string to_table(const QuantizeReport& report);

}  // namespace halftone
