// Whole runs of small networks, on a device or the CPU.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "train/trainer.h"

namespace halftone::test {

inline const std::string kFloat = R"(
name: small
seed: 3
threads: 1
epochs: 1
batch_size: 8
test_batch_size: 16
data: {name: generated-digits, train_samples: 24, test_samples: 16, workers: 1, pad_crop: 1}
model: {name: lenet5}
)";
inline const std::string kSgd =
    "optimizer: {name: SGD, lr: 0.02, momentum: 0.9, weight_decay: 1e-4}\n";
inline const std::string kAdam = "optimizer: {name: Adam, lr: 0.002}\n";

inline const std::string kImages = R"(
name: quantized
seed: 3
threads: 1
epochs: 1
batch_size: 6
test_batch_size: 6
data: {name: generated-colour, train_samples: 12, test_samples: 6, workers: 1}
model: {name: resnet20}
)";

inline const std::string kBinary = kImages + R"(loss: {name: squared_hinge}
optimizer: {name: SGD, lr: 0.01, momentum: 0.9}
quantizer:
  name: BNNQuantizer
  config_list:
    - {quant_types: [weight], quant_bits: 1, op_types: [Conv2d]}
)";

struct Run {
  TrainResult result;
  std::vector<MetricsRow> rows;
  int64_t launches = 0;  // of recorded steps
  std::map<std::string, Tensor> state;
};

inline Run train(const Recipe& recipe, const std::string& folder, const Device& device,
                 bool resume = false, bool graph = true) {
  TrainOptions options;
  options.out = folder;
  options.quiet = true;
  options.device = device;
  options.resume = resume;
  options.graph = graph;
  Trainer trainer(recipe, options);
  Run run;
  run.result = trainer.run();
  run.rows = trainer.rows();
  run.launches = trainer.graph_launches();
  run.state = trainer.network().model.module->state_dict();
  return run;
}

inline const Device kDevice{DeviceType::kCuda, 0};

inline Recipe quantized(const std::string& name, const std::string& base,
                        const std::string& config) {
  Recipe recipe = parse_recipe(base + kSgd, name + ".yaml");
  recipe.quantizer.name = name;
  recipe.quantizer.config_list = config;
  return recipe;
}

inline const std::string kKeys =
    R"("quant_bits": 8, "quant_dtype": {"weight": "int", "input": "uint"},
  "quant_scheme": {"weight": "per_channel_symmetric", "input": "per_tensor_affine"},
  "quant_types": ["weight", "input"], "op_types": ["Conv2d", "Linear"])";
inline const std::string kInteger = "[{" + kKeys + R"(},
  {"quant_types": ["output"], "quant_bits": 8, "op_types": ["Add"]}])";
// Affine weights.
inline const char* const kEightBits = R"([
  {"quant_types": ["weight", "input"], "quant_bits": 8, "op_types": ["Conv2d", "Linear"]},
  {"quant_types": ["output"], "quant_bits": 8, "op_types": ["ReLU", "Add"]}])";
inline const char* const kFourBits = R"([
  {"quant_types": ["weight", "input"], "quant_bits": 4, "op_types": ["Conv2d", "Linear"]}])";

inline const char* const kSixBitGradients = R"([
  {"quant_types": ["weight"], "quant_bits": 1, "op_types": ["Conv2d", "Linear"]},
  {"quant_types": ["input"], "quant_bits": 2, "op_types": ["Conv2d", "Linear"]},
  {"quant_types": ["gradient"], "quant_bits": 6, "op_types": ["Conv2d", "Linear"]}])";

}  // namespace halftone::test
