#include "train/network.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "kernels/elementwise.h"
#include "nn/fuse.h"
#include "nn/init.h"
#include "train/checkpoint.h"

namespace halftone {
namespace {

Tensor one_hot(const Tensor& labels, const Shape& shape) {
  const Tensor home = labels.to(labels.context().host());
  Tensor rows = Tensor::zeros(home.context(), shape);
  for (int64_t i = 0; i < labels.numel(); ++i) {
    const int64_t label = home.data<int64_t>()[i];
    if (label < 0 || label >= shape[1]) {
      throw HALFTONE_ERROR("mse")
          .expected(fmt::format("labels from 0 to {}", shape[1] - 1))
          .found(fmt::format("{} at index {}", label, i));
    }
    rows.data<float>()[i * shape[1] + label] = 1.0f;
  }
  return rows.to(labels.context());
}

// Weights of a training that went wrong: nothing can be made of them.
void check_finite(Module& model, const std::string& file) {
  for (const auto& [name, tensor] : model.state_dict()) {
    if (tensor.dtype() != DType::kFloat32 || kernels::all_finite(tensor)) continue;
    throw HALFTONE_ERROR("model.weights")
        .at(file)
        .expected("finite values in " + name)
        .found("NaN or infinity")
        .fix("start from another file: its training has diverged");
  }
}

Model build_model(const Context& context, const ModelRecipe& recipe) {
  ModelOptions options;
  options.num_classes = recipe.num_classes;
  options.variant = recipe.variant;
  if (recipe.width > 0) options.width = recipe.width;
  Model model;
  try {
    model = make_model(recipe.name, context, options);
  } catch (Error& e) {
    throw e.inside(recipe.lines.at("name"));
  }
  if (recipe.init != "default") init::apply(*model.module, recipe.init);
  if (!recipe.weights.empty()) {
    const std::string file = state_file(recipe.weights);
    try {
      load_state(*model.module, load_safetensors(context.host(), file), file);
      check_finite(*model.module, file);
    } catch (Error& e) {
      throw e.inside(recipe.lines.at("weights"));
    }
  }
  return model;
}

// What a recipe says to a quantizer that cannot use it.
void check_use(const Quantizer& quantizer, const Recipe& recipe, NetworkUse use) {
  const QuantizerRecipe& r = recipe.quantizer;
  const auto refuse = [&](const std::string& key, const std::string& expected,
                          const std::string& found, const std::string& fix) {
    const std::string name = key.substr(key.rfind('.') + 1);
    throw HALFTONE_ERROR(key)
        .at((name == key ? recipe.lines : r.lines).at(name))
        .expected(expected)
        .found(found)
        .fix(fix);
  };
  if (r.calibration_images > 0 && !quantizer.needs_calibration()) {
    refuse("quantizer.calibration_images", "no such key: " + r.name + " takes no images",
           std::to_string(r.calibration_images), "take it out; ObserverQuantizer has it");
  }
  if (r.compat == "nni" && !quantizer.rules().nni) {
    refuse(
        "quantizer.compat", "no such key: " + r.name + " has no other arithmetic in NNI", "nni",
        "take it out; QAT_Quantizer, LsqQuantizer, NaiveQuantizer and ObserverQuantizer have it");
  }
  if (r.float_epochs > 0 && quantizer.needs_calibration()) {
    refuse("quantizer.float_epochs", "no float_epochs: all epochs of " + r.name + " are in float",
           fmt::format("{}", r.float_epochs), "take it out; epochs says how long it trains");
  }
  if (use == NetworkUse::kTraining && recipe.epochs == 0 && quantizer.needs_training()) {
    refuse("epochs", "at least 1: " + r.name + " has to be trained", "0",
           "ObserverQuantizer and NaiveQuantizer quantize a network as it is");
  }
}

// Of the key or entry of config_list that the error is about; else of the list.
std::string line_of(const QuantizerRecipe& r, const Error& e) {
  const std::string entry = e.location().substr(0, e.location().find(','));
  const std::string key = e.location().substr(0, e.location().find(" of "));
  for (const std::string& place : {e.location(), key, entry})
    if (r.lines.keys.count(place)) return r.lines.at(place);
  return r.lines.at("config_list");
}

void check_reestimation(Module& model, const QuantizerRecipe& r) {
  if (r.reestimate_batches == 0) return;
  for (auto& [path, module] : model.named_modules()) {
    if (dynamic_cast<BatchNorm*>(module) != nullptr) return;
  }
  throw HALFTONE_ERROR("quantizer.reestimate_batches")
      .at(r.lines.at("reestimate_batches"))
      .expected("0: the network has no batch norm")
      .found(std::to_string(r.reestimate_batches))
      .fix("take it out");
}

// On other outputs its value means nothing, and it falls for ever.
void check_loss(Module& model, const LossRecipe& r) {
  if (r.name != "nll") return;
  const auto modules = model.named_modules();
  if (dynamic_cast<LogSoftmax*>(modules.back().second) != nullptr) return;
  throw HALFTONE_ERROR("loss.name")
      .at(r.lines.at("name"))
      .expected("a network that ends in LogSoftmax, as nni_mnist does, for nll")
      .found(modules.back().first)
      .fix("cross_entropy takes outputs as they are");
}

DeviceMath math_of(const std::string& word) {
  return word == "bf16" ? DeviceMath::kBFloat16 : DeviceMath::kFloat32;
}

}  // namespace

Context context_of(const DeviceChoice& device, const Recipe& recipe, uint64_t seed) {
  return device.context(recipe.threads, seed, math_of(recipe.compute), math_of(recipe.backward));
}

std::string state_file(const std::string& path) {
  std::error_code ignored;  // a path that cannot be looked at is opened, and that says why
  if (!std::filesystem::is_directory(path, ignored)) return path;
  const std::string file = path + "/checkpoint.safetensors";
  if (std::filesystem::exists(file, ignored)) return file;
  throw HALFTONE_ERROR("run folder")
      .at(path)
      .expected("a folder with checkpoint.safetensors, as halftone train leaves it")
      .found("a folder without")
      .fix("name the folder of a run, or a safetensors file");
}

void load_state(Module& model, TensorFile file, const std::string& path) {
  const bool checkpoint = is_checkpoint(file);
  const bool exported = file.metadata.count("format") && file.metadata["format"] == kExportFormat;
  const auto all =
      checkpoint ? to_checkpoint(std::move(file), path).model : std::move(file.tensors);
  const std::map<std::string, Tensor> wanted = model.state_dict();
  std::map<std::string, Tensor> found;
  for (const auto& [name, tensor] : all) {
    if (wanted.count(name) || (!checkpoint && !exported)) found.emplace(name, tensor);
  }
  try {
    model.load_state_dict(found);
  } catch (Error& e) {
    throw e.inside(path);
  }
}

void check_fits(const Network& network, const Dataset& data, const Recipe& recipe) {
  const Shape found{data.channels(), data.height(), data.width()};
  if (network.model.input_shape != found) {
    throw HALFTONE_ERROR("model " + network.model.name)
        .at(recipe.model.lines.at("name"))
        .expected("images of shape (C, H, W) " + network.model.input_shape.str())
        .found(found.str() + " in data set " + data.name)
        .fix(
            "choose a model and a data set that fit together (halftone list models, halftone list "
            "datasets)");
  }
  if (data.num_classes() > network.num_classes) {
    throw HALFTONE_ERROR("model.num_classes")
        .at(recipe.model.lines.at("num_classes"))
        .expected(fmt::format("at least the {} classes of {}", data.num_classes(), data.name))
        .found(std::to_string(network.num_classes))
        .fix(fmt::format("set model.num_classes to {}", data.num_classes()));
  }
}

Network build_network(const Context& context, const Recipe& recipe, int64_t steps_per_epoch,
                      NetworkUse use) {
  Network network;
  network.model = build_model(context, recipe.model);
  network.num_classes = recipe.model.num_classes;
  if (use == NetworkUse::kTraining) {
    network.store = std::make_unique<ParameterStore>(*network.model.module);
    network.optimizer = build_optimizer(recipe.optimizer, *network.store);
    check_loss(*network.model.module, recipe.loss);
  }
  const Tensor dummy = Tensor::zeros(context, network.model.batch_shape(1));
  if (recipe.quantizer.name.empty()) {
    fuse_layers(*network.model.module, trace(*network.model.module, Variable(dummy)));
    return network;
  }
  // quant_start_step N leaves the first N - 1 optimizer steps in float.
  QuantizerOptions options;
  options.start_step =
      std::llround(recipe.quantizer.float_epochs * static_cast<double>(steps_per_epoch)) + 1;
  options.scale_lr = recipe.quantizer.scale_lr;
  options.nni = recipe.quantizer.compat == "nni";
  options.integer = recipe.quantizer.integer;
  network.model->eval();  // as a quantizer that calibrates wants it
  try {
    network.quantizer =
        make_quantizer(recipe.quantizer.name, *network.model.module, recipe.quantizer.config_list,
                       network.optimizer.get(), dummy, options);
  } catch (Error& e) {
    throw e.inside(line_of(recipe.quantizer, e));
  }
  check_use(*network.quantizer, recipe, use);
  check_reestimation(*network.model.module, recipe.quantizer);
  try {
    if (!network.quantizer->needs_calibration()) network.quantizer->compress();
  } catch (Error& e) {
    throw e.inside(line_of(recipe.quantizer, e));
  }
  network.model->train();
  if (network.quantizer->points().empty()) {
    throw HALFTONE_ERROR("quantizer.config_list")
        .at(recipe.quantizer.lines.at("config_list"))
        .expected("an entry that matches a layer of " + recipe.model.name)
        .found("none: " + fmt::format("{}", fmt::join(network.quantizer->warnings(), "; ")))
        .fix("op_types are class names (Conv2d, Linear), op_names dotted names (halftone inspect)");
  }
  return network;
}

Loss build_loss(const LossRecipe& recipe) {
  LossOptions options;
  if (recipe.label_smoothing > 0)
    options.label_smoothing = static_cast<float>(recipe.label_smoothing);
  Loss loss = make_loss(recipe.name, options);
  if (recipe.name != "mse") return loss;
  return [loss](const Variable& output, const Tensor& labels) {
    return loss(output, one_hot(labels, output.shape()));
  };
}

std::unique_ptr<Optimizer> build_optimizer(const OptimizerRecipe& recipe, ParameterStore& store) {
  OptimizerOptions options;
  options.name = recipe.name;
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
  try {
    return make_optimizer(store, options);
  } catch (Error& e) {
    for (size_t i = 0; i < recipe.groups.size(); ++i) {
      if (e.location() == fmt::format("groups[{}]", i))
        throw e.inside(recipe.groups[i].lines.section);
    }
    throw e.inside(recipe.lines.section);
  }
}

Schedule build_schedule(const ScheduleRecipe& recipe, int64_t steps_per_epoch, int64_t epochs) {
  const int64_t unit = recipe.per == "step" ? steps_per_epoch : 1;  // schedule steps per epoch
  const double per_epoch = static_cast<double>(steps_per_epoch);
  const int64_t warmup = std::llround(recipe.warmup_epochs * per_epoch);
  ScheduleOptions options;
  options.name = recipe.name;
  options.step_size = recipe.step_size * unit;
  for (int m : recipe.milestones) options.milestones.push_back(m * unit);
  options.gamma = recipe.name == "exponential"
                      ? std::pow(recipe.gamma, 1.0 / static_cast<double>(unit))
                      : recipe.gamma;
  const int64_t falling = (epochs * steps_per_epoch - warmup) * unit;  // rounded up: a rest counts
  options.t_max = std::max<int64_t>(1, (falling + steps_per_epoch - 1) / steps_per_epoch);
  options.min_lr = recipe.min_lr;
  const Schedule schedule = make_schedule(options);
  ScheduleOptions rise;  // always step by step
  rise.warmup_steps = warmup;
  rise.warmup_start = recipe.warmup_factor;
  const Schedule warm_up = make_schedule(rise);
  return [=](double base, int64_t step) {
    if (step < warmup) return warm_up(base, step);
    return schedule(base, (step - warmup) * unit / steps_per_epoch);
  };
}

}  // namespace halftone
