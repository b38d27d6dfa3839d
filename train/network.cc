#include "train/network.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/fuse.h"
#include "nn/init.h"
#include "train/checkpoint.h"

namespace halftone {
namespace {

// A file of weights: PyTorch's names, or a checkpoint, of which the float model's part is taken.
void load_weights(Module& model, const std::string& path) {
  TensorFile file = load_safetensors(model.context(), path);
  if (!is_checkpoint(file)) return model.load_state_dict(file.tensors);
  std::map<std::string, Tensor> wanted = model.state_dict(), found;
  const Checkpoint checkpoint = load_checkpoint(model.context(), path);
  for (const auto& [name, tensor] : checkpoint.model) {
    if (wanted.count(name)) found.emplace(name, tensor);
  }
  model.load_state_dict(found);
}

// quant_start_step N leaves the first N - 1 optimizer steps in float.
std::string with_start_step(const std::string& config_list, double float_epochs,
                            int64_t steps_per_epoch) {
  if (float_epochs <= 0) return config_list;
  nlohmann::json list = nlohmann::json::parse(config_list);
  const int64_t start = std::llround(float_epochs * static_cast<double>(steps_per_epoch)) + 1;
  for (nlohmann::json& entry : list) {
    const bool excluded = entry.is_object() && entry.value("exclude", false);
    if (entry.is_object() && !excluded && !entry.contains("quant_start_step"))
      entry["quant_start_step"] = start;
  }
  return list.dump();
}

std::string lower(std::string s) {
  std::transform(s.begin(), s.end(), s.begin(), [](unsigned char c) { return std::tolower(c); });
  return s;
}

}  // namespace

void check_fits(const Network& network, const Dataset& data) {
  const Shape found{data.channels(), data.height(), data.width()};
  if (network.model.input_shape != found) {
    throw HALFTONE_ERROR("model " + network.model.name)
        .expected("images of shape (C, H, W) " + network.model.input_shape.str())
        .found(found.str() + " in data set " + data.name)
        .fix(
            "choose a model and a data set that fit together (halftone list models, halftone list "
            "datasets)");
  }
  if (data.num_classes() > network.num_classes) {
    throw HALFTONE_ERROR("model.num_classes")
        .expected(fmt::format("at least the {} classes of {}", data.num_classes(), data.name))
        .found(std::to_string(network.num_classes))
        .fix(fmt::format("set model.num_classes to {}", data.num_classes()));
  }
}

Network build_network(const Context& context, const Recipe& recipe, int64_t steps_per_epoch) {
  ModelOptions options;
  options.num_classes = recipe.model.num_classes;
  options.variant = recipe.model.variant;
  if (recipe.model.width > 0) options.width = recipe.model.width;
  Network network{make_model(recipe.model.name, context, options), recipe.model.num_classes,
                  nullptr};
  if (recipe.model.init != "default") init::apply(*network.model.module, recipe.model.init);
  if (!recipe.model.weights.empty()) load_weights(*network.model.module, recipe.model.weights);
  const Tensor dummy = Tensor::zeros(context, network.model.batch_shape(1));
  if (recipe.quantizer.name.empty()) {
    fuse_activations(*network.model.module,
                                trace(*network.model.module, Variable(dummy)));
    return network;
  }
  const std::string config =
      with_start_step(recipe.quantizer.config_list, recipe.quantizer.float_epochs, steps_per_epoch);
  network.quantizer =
      make_quantizer(recipe.quantizer.name, *network.model.module, config, {}, dummy);
  network.quantizer->compress();
  return network;
}

Loss build_loss(const LossRecipe& recipe) {
  LossOptions options;
  if (recipe.label_smoothing > 0)
    options.label_smoothing = static_cast<float>(recipe.label_smoothing);
  Loss loss = make_loss(recipe.name, options);
  if (recipe.name != "mse") return loss;
  return [loss](const Variable& output, const Tensor& labels) {
    Tensor rows = Tensor::zeros(output.context(), output.shape());
    for (int64_t i = 0; i < labels.numel(); ++i) {
      rows.data<float>()[i * rows.dim(1) + labels.data<int64_t>()[i]] = 1.0f;
    }
    return loss(output, rows);
  };
}

std::unique_ptr<Optimizer> build_optimizer(const OptimizerRecipe& recipe, ParameterStore& store) {
  OptimizerOptions options;
  options.name = lower(recipe.name);
  options.lr = recipe.lr;
  options.weight_decay = recipe.weight_decay;
  if (recipe.name == "SGD") {
    options.momentum = recipe.momentum;
    options.dampening = recipe.dampening;
    options.nesterov = recipe.nesterov;
  } else {
    options.beta1 = recipe.beta1;
    options.beta2 = recipe.beta2;
    options.eps = recipe.eps;
  }
  for (const GroupRecipe& g : recipe.groups) {
    ParameterGroupOptions group{g.params, std::nullopt, std::nullopt};
    if (g.lr >= 0) group.lr = g.lr;
    if (g.weight_decay >= 0) group.weight_decay = g.weight_decay;
    options.groups.push_back(group);
  }
  return make_optimizer(store, options);
}

Schedule build_schedule(const ScheduleRecipe& recipe, int64_t steps_per_epoch, int64_t epochs) {
  const int64_t unit = recipe.per == "step" ? steps_per_epoch : 1;  // schedule steps per epoch
  ScheduleOptions options;
  options.name = recipe.name;
  options.warmup_steps = std::llround(recipe.warmup_epochs * static_cast<double>(unit));
  options.warmup_start = recipe.warmup_factor;
  options.step_size = recipe.step_size * unit;
  for (int m : recipe.milestones) options.milestones.push_back(m * unit);
  options.gamma = recipe.name == "exponential"
                      ? std::pow(recipe.gamma, 1.0 / static_cast<double>(unit))
                      : recipe.gamma;
  options.t_max = std::max<int64_t>(1, epochs * unit - options.warmup_steps);
  options.min_lr = recipe.min_lr;
  const Schedule schedule = make_schedule(options);
  return [=](double base, int64_t step) { return schedule(base, step * unit / steps_per_epoch); };
}

}  // namespace halftone
