// Recipe -> YAML.
#include <yaml-cpp/yaml.h>

#include "train/recipe.h"
#include "train/yaml_json.h"

namespace halftone {
namespace {

// The shortest text that reads back as the same double.
std::string number(double value) {
  for (int digits = 6; digits < 17; ++digits) {
    char text[40];
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    if (std::strtod(text, nullptr) == value) return text;
  }
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

YAML::Node data_node(const DataRecipe& r) {
  YAML::Node n;
  n["name"] = r.name;
  n["dir"] = r.dir;
  n["train_samples"] = r.train_samples;
  n["test_samples"] = r.test_samples;
  n["workers"] = r.workers;
  n["pad_crop"] = r.pad_crop;
  n["flip"] = r.flip;
  n["drop_last"] = r.drop_last;
  n["coarse_labels"] = r.coarse_labels;
  n["resize"] = r.resize;
  n["crop"] = r.crop;
  return n;
}

YAML::Node model_node(const ModelRecipe& r) {
  YAML::Node n;
  n["name"] = r.name;
  n["num_classes"] = r.num_classes;
  n["variant"] = r.variant;
  n["width"] = number(r.width);
  n["init"] = r.init;
  n["weights"] = r.weights;
  return n;
}

YAML::Node optimizer_node(const OptimizerRecipe& r) {
  YAML::Node n;
  n["name"] = r.name;
  n["lr"] = number(r.lr);
  n["weight_decay"] = number(r.weight_decay);
  if (r.name == "SGD") {
    n["momentum"] = number(r.momentum);
    n["dampening"] = number(r.dampening);
    n["nesterov"] = r.nesterov;
  } else {
    n["beta1"] = number(r.beta1);
    n["beta2"] = number(r.beta2);
    n["eps"] = number(r.eps);
  }
  for (const GroupRecipe& g : r.groups) {
    YAML::Node group;
    group["params"] = g.params;
    if (g.lr >= 0) group["lr"] = number(g.lr);
    if (g.weight_decay >= 0) group["weight_decay"] = number(g.weight_decay);
    n["groups"].push_back(group);
  }
  return n;
}

YAML::Node schedule_node(const ScheduleRecipe& r) {
  YAML::Node n;
  n["name"] = r.name;
  n["per"] = r.per;
  n["warmup_epochs"] = number(r.warmup_epochs);
  n["warmup_factor"] = number(r.warmup_factor);
  if (r.name == "step") n["step_size"] = r.step_size;
  if (r.name == "multi_step") n["milestones"] = r.milestones;
  if (r.name != "constant" && r.name != "cosine") n["gamma"] = number(r.gamma);
  if (r.name == "cosine") n["min_lr"] = number(r.min_lr);
  return n;
}

YAML::Node quantizer_node(const QuantizerRecipe& r) {
  YAML::Node n;
  n["name"] = r.name;
  if (!r.compat.empty()) n["compat"] = r.compat;
  n["integer"] = r.integer;
  n["float_epochs"] = number(r.float_epochs);
  n["scale_lr"] = number(r.scale_lr);
  n["reestimate_batches"] = r.reestimate_batches;
  if (r.calibration_images > 0) n["calibration_images"] = r.calibration_images;
  return n;
}

// JSON, which is YAML too: strings keep their quotes. Behind everything else of the recipe.
std::string config_list_text(const std::string& json) {
  const auto entries = nlohmann::ordered_json::parse(json);
  if (entries.empty()) return "  config_list: []\n";
  std::string text = "  config_list:\n";
  for (const auto& entry : entries) text += "    - " + entry.dump() + "\n";
  return text;
}

std::map<std::string, std::string> dotted(const YAML::Node& node, const std::string& prefix) {
  std::map<std::string, std::string> keys;
  for (const auto& item : node) {
    const std::string key = prefix + item.first.Scalar();
    if (item.second.IsMap()) {
      keys.merge(dotted(item.second, key + "."));
    } else {
      keys[key] = yaml_to_json(item.second, "recipe").dump();
    }
  }
  return keys;
}

}  // namespace

std::string to_yaml(const Recipe& r) {
  YAML::Node n;
  n["name"] = r.name;
  n["seed"] = r.seed;
  n["threads"] = r.threads;
  n["epochs"] = r.epochs;
  n["batch_size"] = r.batch_size;
  n["test_batch_size"] = r.test_batch_size;
  n["accumulate"] = r.accumulate;
  n["checkpoint_minutes"] = number(r.checkpoint_minutes);
  n["compute"] = r.compute;
  n["backward"] = r.backward;
  n["data"] = data_node(r.data);
  n["model"] = model_node(r.model);
  n["loss"]["name"] = r.loss.name;
  n["loss"]["label_smoothing"] = number(r.loss.label_smoothing);
  n["optimizer"] = optimizer_node(r.optimizer);
  n["schedule"] = schedule_node(r.schedule);
  if (r.quantizer.name.empty()) return YAML::Dump(n) + "\n";
  n["quantizer"] = quantizer_node(r.quantizer);
  return YAML::Dump(n) + "\n" + config_list_text(r.quantizer.config_list);
}

std::map<std::string, std::string> dotted_keys(const Recipe& r) {
  return dotted(YAML::Load(to_yaml(r)), "");
}

std::vector<std::string> recipe_keys() {
  std::map<std::string, std::string> keys;
  Recipe r;
  r.quantizer.name = "any";
  r.quantizer.calibration_images = 1;
  r.quantizer.compat = "nni";
  r.optimizer.groups.resize(1);
  for (const char* schedule : {"step", "multi_step", "cosine"}) {
    r.schedule.name = schedule;
    r.schedule.milestones = {1};
    for (const char* optimizer : {"Adam", "SGD"}) {
      r.optimizer.name = optimizer;
      keys.merge(dotted_keys(r));
    }
  }
  std::vector<std::string> names;
  for (const auto& [key, value] : keys) names.push_back(key);
  return names;
}

}  // namespace halftone
