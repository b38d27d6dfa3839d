// What a run says at its end.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "train/trainer.h"

namespace halftone {

struct RunReport {
  std::string dataset, model, quantizer;  // quantizer "" for a float run
  double float_accuracy = -1;      // 0..1; negative where there is no float network to measure
  std::string float_is;            // of a quantized run, in words: whose accuracy that is
  double quantized_accuracy = -1;  // negative for a float run, and where nothing quantizes yet
  std::map<std::string, std::string> float_layers;  // as in quantizer.h
  int64_t images = 0;  // that calibrated the quantizer; 0: a quantizer without calibration
  int64_t parameters = 0;
  int64_t fp32_bytes = 0, quantized_bytes = 0;  // of what has to be stored to run the network
  double seconds = 0;                           // of training
  int64_t epochs = 0, steps = 0;
  std::string out;
};

// Measures what is missing (the float accuracy of a quantized run) and writes the run folder's last
// files: curves.svg, report.json, and the weights under PyTorch's names, model.safetensors (float)
// or the quantizer's export.
RunReport finish_run(Trainer& trainer, const TrainResult& result, const std::string& out);

nlohmann::ordered_json to_json(const RunReport& report);
std::string to_table(const RunReport& report);

}  // namespace halftone
