// From a recipe to the objects that it names.
#pragma once

#include <map>
#include <memory>

#include "data/dataset.h"
#include "nn/losses.h"
#include "nn/optimizer.h"
#include "nn/schedule.h"
#include "nn/zoo/zoo.h"
#include "quant/quantizer.h"
#include "tensor/safetensors.h"
#include "train/choose_device.h"
#include "train/recipe.h"

namespace halftone {

struct Network {
  Model model;
  int num_classes = 10;
  std::unique_ptr<ParameterStore> store;  // these two: for training only
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Quantizer> quantizer;  // null in float
};

// Where the recipe runs, and in what it multiplies.
Context context_of(const DeviceChoice& device, const Recipe& recipe, uint64_t seed);
// The model with its initial or given weights, and the quantizer laid over it; for training with
// its optimizer. `steps_per_epoch` turns quantizer.float_epochs into quant_start_step. Of a
// quantizer that calibrates the observers are in place, and compress() is the caller's (or comes
// with a state that was saved after it).
enum class NetworkUse : uint8_t { kTraining, kEvaluation };
Network build_network(const Context& context, const Recipe& recipe, int64_t steps_per_epoch,
                      NetworkUse use);
// The file that holds a run's weights where `path` is its folder; else `path`.
std::string state_file(const std::string& path);
// Loads what a file has for the model: a checkpoint, a quantizer's export, or a plain file of
// weights with PyTorch's names, which must hold exactly the model's.
void load_state(Module& model, TensorFile file, const std::string& path);
// Throws when image size, channels or classes differ.
void check_fits(const Network& network, const Dataset& data, const Recipe& recipe);

// A loss that takes int64 labels, whatever its name ("mse" compares with one-hot rows).
Loss build_loss(const LossRecipe& recipe);
std::unique_ptr<Optimizer> build_optimizer(const OptimizerRecipe& recipe, ParameterStore& store);
// Of the optimizer step, 0 for the first.
Schedule build_schedule(const ScheduleRecipe& recipe, int64_t steps_per_epoch, int64_t epochs);

}  // namespace halftone
