// A recipe: everything that decides a run, read from YAML.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "train/key_lines.h"

namespace halftone {

struct DataRecipe {
  KeyLines lines;                         // in this and the other sections: no key
  std::string name = "generated-digits";  // `halftone list datasets`
  std::string dir;  // where its files lie; "" looks in $HALFTONE_DATA/NAME and the cache
  int train_samples = 0, test_samples = 0;  // 0: all; otherwise the first so many
  int workers = 1;                          // loader threads
  int pad_crop = 0;            // pixels of zero padding before a random crop to the old size
  bool flip = false;           // horizontal, with probability 1/2
  bool drop_last = false;      // leave out an epoch's last batch when it is not full
  bool coarse_labels = false;  // cifar100: the 20 super-classes
  int resize = 0,
      crop = 0;  // image-folder: shorter side, then the side of the centre square; 0: as it is
};

struct ModelRecipe {
  KeyLines lines;
  std::string name = "lenet5";  // `halftone list models`
  int num_classes = 10;
  std::string variant;  // "" is the network's default; `halftone list models` shows the others
  double width = 0;     // factor on channel counts, 0: the network's default (mobilenet_v2)
  std::string init =
      "default";  // PyTorch's; or kaiming_normal, kaiming_uniform, xavier_normal, xavier_uniform
  std::string weights;  // a safetensors file to start from, PyTorch's names
};

struct LossRecipe {
  KeyLines lines;
  std::string name = "cross_entropy";  // nll, mse, squared_hinge
  double label_smoothing = 0.0;
};

struct GroupRecipe {
  KeyLines lines;
  std::string params;                     // glob over parameter names: "*.bias"
  double lr = -1.0, weight_decay = -1.0;  // negative: the optimizer's
};

struct OptimizerRecipe {
  KeyLines lines;
  std::string name = "Adam";  // SGD, Adam, AdamW
  double lr = 1e-3, weight_decay = 0.0;
  double momentum = 0.0, dampening = 0.0;
  bool nesterov = false;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  std::vector<GroupRecipe> groups;
};

struct ScheduleRecipe {
  std::string name = "constant";  // step, multi_step, exponential, cosine
  std::string per = "epoch";      // or step: the unit in which the rate changes
  double warmup_epochs = 0.0;     // step by step, linear, from warmup_factor times the rate
  double warmup_factor = 1.0 / 3.0;
  int step_size = 1;            // epochs
  std::vector<int> milestones;  // epochs
  double gamma = 0.1;
  double min_lr = 0.0;  // cosine
};

struct QuantizerRecipe {
  KeyLines lines;
  std::string name;  // "" trains in float; `halftone list quantizers`
  double float_epochs =
      0.0;  // quantization starts after so many epochs: NNI's quant_start_step in epochs
  // After the last step, batch norm's running statistics anew from so many training batches,
  // without augmentation, as the quantized network computes them; 0: as training left them.
  int reestimate_batches = 0;
  // ObserverQuantizer, which trains in float and is calibrated behind the last step: from so many
  // training images. 0: 100.
  int calibration_images = 0;
  std::string compat;     // "nni": NNI's arithmetic, on floats (quant/README.md); "": our own
  bool integer = true;    // false: quantized values as floats, the oracle of sums of codes
  double scale_lr = 1.0;  // learned scales: their learning rate, as a factor of the optimizer's
  std::string config_list = "[]";  // JSON, NNI's form
};

struct Recipe {
  KeyLines lines;
  std::string name = "run";
  int seed = 0;
  int threads = 0;  // 0: all cores
  int epochs = 1;   // 0: no training; with model.weights and a quantizer that needs none
  int batch_size = 64;
  int test_batch_size = 500;
  int accumulate = 1;             // batches whose gradients are added before a step
  double checkpoint_minutes = 5;  // and at the end of every epoch
  // What products of float layers, and what products of gradients multiply: fp32 or bf16 (operands
  // rounded to nearest even, sums in float32; codes are exact in both).
  std::string compute = "fp32", backward = "fp32";
  DataRecipe data;
  ModelRecipe model;
  LossRecipe loss;
  OptimizerRecipe optimizer;
  ScheduleRecipe schedule;
  QuantizerRecipe quantizer;
};

// Reads FILE and then the overrides "key.path=value" in order. Throws Error with FILE:LINE, the
// dotted key, what is allowed and what was found; an unknown key names its nearest neighbour.
Recipe load_recipe(const std::string& file, const std::vector<std::string>& overrides = {});
Recipe parse_recipe(const std::string& yaml, const std::string& file,
                    const std::vector<std::string>& overrides = {});

// What to quantize, for `halftone quantize`: a config_list as JSON or YAML (of ObserverQuantizer),
// a quantizer section {name, config_list}, or a recipe with one.
QuantizerRecipe load_quantizer_recipe(const std::string& file);

// The complete recipe as YAML, defaults included: parse_recipe(to_yaml(r)) equals r.
std::string to_yaml(const Recipe& recipe);
// The same as dotted keys with their values as JSON; lists count as one value.
std::map<std::string, std::string> dotted_keys(const Recipe& recipe);
// Every dotted key that some recipe has.
std::vector<std::string> recipe_keys();

}  // namespace halftone
