#include "train/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "data/dataset.h"
#include "nn/init.h"
#include "nn/losses.h"
#include "nn/optimizer.h"
#include "nn/schedule.h"
#include "nn/zoo/zoo.h"
#include "quant/quantizer.h"
#include "tensor/nearest.h"
#include "train/yaml_fields.h"
#include "train/yaml_json.h"

namespace halftone {
namespace {

constexpr int kMany = std::numeric_limits<int>::max();  // no upper limit
constexpr int kLargestImage = 4096;                     // its side, in pixels

// A text that must be one of a few, or what stands for none of them.
void get_choice(YamlFields& f, const std::string& key, std::string& value,
                const std::vector<std::string>& allowed,
                const std::optional<std::string>& none = std::nullopt) {
  f.get(key, value);
  if (value == none) return;
  if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return;
  Error e = f.error(key, fmt::format("one of {}", fmt::join(allowed, ", ")));
  const std::string near = nearest_name(value, allowed);
  throw near.empty() ? e : e.fix("did you mean '" + near + "'?");
}

// What a run folder is called.
void get_folder_name(YamlFields& f, std::string& value) {
  f.get("name", value);
  if (value.empty() || value[0] == '.' || value.find('/') != std::string::npos)
    throw f.error("name", "a name of a folder: not empty, no '/', and no '.' in front");
}

void read_data(YamlFields f, DataRecipe& r) {
  r.lines = f.lines();
  get_choice(f, "name", r.name, dataset_names());
  f.get("dir", r.dir);
  f.get("train_samples", r.train_samples, 0, kMany);
  f.get("test_samples", r.test_samples, 0, kMany);
  f.get("workers", r.workers, 1, 64);
  f.get("pad_crop", r.pad_crop, 0, 64);
  f.get("flip", r.flip);
  f.get("drop_last", r.drop_last);
  f.get("coarse_labels", r.coarse_labels);
  f.get("resize", r.resize, 0, kLargestImage);
  f.get("crop", r.crop, 0, kLargestImage);
  const auto refuse = [&](bool given, const char* key, const char* option) {
    if (given && !dataset_takes(r.name, option))
      throw f.error(key, "no such key: " + r.name + " does not take it").fix("take it out");
  };
  refuse(!r.dir.empty(), "dir", "data_dir");
  refuse(r.coarse_labels, "coarse_labels", "coarse_labels");
  refuse(r.resize > 0, "resize", "resize");
  refuse(r.crop > 0, "crop", "crop");
  f.finish();
}

void read_size(YamlFields& f, ModelRecipe& r) {
  const ZooEntry& entry = zoo_entry(r.name);
  f.get("variant", r.variant);
  if (!r.variant.empty() && entry.variants.empty())
    throw f.error("variant", "no such key: " + r.name + " has one form").fix("take it out");
  if (!entry.variants.empty()) get_choice(f, "variant", r.variant, entry.variants, "");
  f.get("width", r.width, 0.0, 100.0);
  if (r.width > 0 && !entry.has_width)
    throw f.error("width", "no such key: " + r.name + " has one size").fix("take it out");
}

void read_model(YamlFields f, ModelRecipe& r) {
  r.lines = f.lines();
  get_choice(f, "name", r.name, zoo_names());
  f.get("num_classes", r.num_classes, 2, 100000);
  read_size(f, r);
  get_choice(f, "init", r.init, init::names());
  f.get("weights", r.weights);
  f.finish();
}

void read_loss(YamlFields f, LossRecipe& r) {
  r.lines = f.lines();
  get_choice(f, "name", r.name, loss_names());
  f.get("label_smoothing", r.label_smoothing, 0.0, 0.999);
  if (r.label_smoothing > 0 && r.name != "cross_entropy") {
    throw f.error("label_smoothing",
                  "0 with loss '" + r.name + "' (only cross_entropy smooths labels)");
  }
  f.finish();
}

void read_group(YamlFields f, GroupRecipe& r) {
  r.lines = f.lines();
  f.get("params", r.params);
  f.get("lr", r.lr, 0.0, 1e6);
  f.get("weight_decay", r.weight_decay, 0.0, 1e6);
  f.finish();
  if (r.params.empty()) throw f.error("params", "a pattern of parameter names, as in '*.bias'");
}

void read_optimizer(YamlFields f, const std::string& file, OptimizerRecipe& r) {
  r.lines = f.lines();
  get_choice(f, "name", r.name, optimizer_names());
  f.get("lr", r.lr, 0.0, 1e6);
  if (r.name == "AdamW") r.weight_decay = 1e-2;  // as torch.optim.AdamW
  f.get("weight_decay", r.weight_decay, 0.0, 1e6);
  if (r.name == "SGD") {
    f.get("momentum", r.momentum, 0.0, 1.0);
    f.get("dampening", r.dampening, 0.0, 1.0);
    f.get("nesterov", r.nesterov);
    if (r.nesterov && (r.momentum <= 0 || r.dampening != 0)) {
      throw f.error("nesterov", "false, or a momentum above 0 and no dampening");
    }
  } else {
    f.get("beta1", r.beta1, 0.0, 0.999999);
    f.get("beta2", r.beta2, 0.0, 0.999999);
    f.get("eps", r.eps, 0.0, 1.0);
  }
  const YAML::Node groups = f.raw("groups");
  if (groups.IsDefined()) {
    if (!groups.IsSequence()) throw f.error("groups", "a list of {params, lr, weight_decay}");
    r.groups.clear();
    for (const auto& item : groups) {
      r.groups.emplace_back();
      read_group(YamlFields(file, fmt::format("optimizer.groups[{}]", r.groups.size() - 1), item,
                            recipe_keys),
                 r.groups.back());
    }
  }
  f.finish();
}

void read_milestones(YamlFields& f, std::vector<int>& milestones) {
  f.get("milestones", milestones, 1);
  if (milestones.empty() || !std::is_sorted(milestones.begin(), milestones.end()))
    throw f.error("milestones", "a list of epochs in ascending order");
}

void read_schedule(YamlFields f, ScheduleRecipe& r, int epochs) {
  get_choice(f, "name", r.name, schedule_names());
  get_choice(f, "per", r.per, {"epoch", "step"});
  f.get("warmup_epochs", r.warmup_epochs, 0.0, 1e6);
  f.get("warmup_factor", r.warmup_factor, 0.0, 1.0);
  if (r.warmup_factor <= 0) throw f.error("warmup_factor", "a number above 0, up to 1");
  if (epochs > 0 && r.warmup_epochs > epochs)
    throw f.error("warmup_epochs", fmt::format("at most the {} epochs of the run", epochs));
  const ScheduleRecipe unset;
  if (r.warmup_epochs == 0 && r.warmup_factor != unset.warmup_factor)
    throw f.error("warmup_factor", "warmup_epochs beside it: without, there is no warm-up");
  if (r.name == "constant" && r.per != unset.per)
    throw f.error("per", "another schedule than constant, which has no steps");
  if (r.name == "step") f.get("step_size", r.step_size, 1, kMany);
  if (r.name == "multi_step") read_milestones(f, r.milestones);
  if (r.name != "constant" && r.name != "cosine") f.get("gamma", r.gamma, 0.0, 1.0);
  if (r.gamma <= 0) throw f.error("gamma", "a number above 0, up to 1");
  if (r.name == "cosine") f.get("min_lr", r.min_lr, 0.0, 1e6);
  f.finish();
}

// Whether every entry that quantizes says itself when it starts.
bool starts_by_itself(const YAML::Node& list) {
  bool all = list.IsDefined() && list.size() > 0;
  for (const auto& entry : list) {
    const bool excludes =
        entry.IsMap() && entry["exclude"].IsDefined() && entry["exclude"].as<bool>(false);
    all = all && entry.IsMap() && (excludes || entry["quant_start_step"].IsDefined());
  }
  return all;
}

// As errors of the quantizers name their places.
void add_entry_lines(const YamlFields& f, const std::string& name, const YAML::Node& entry,
                     KeyLines& lines) {
  lines.keys[name] = f.location(entry);
  if (!entry.IsMap()) return;
  for (const auto& item : entry)
    lines.keys[name + ", " + item.first.Scalar()] = f.location(item.first, item.second);
}

void read_quantizer(YamlFields f, const std::string& file, QuantizerRecipe& r, int epochs) {
  r.lines = f.lines();
  get_choice(f, "name", r.name, quantizer_names(), "");
  get_choice(f, "compat", r.compat, {"nni"}, "");
  f.get("integer", r.integer);
  f.get("float_epochs", r.float_epochs, 0.0, 1e6);
  f.get("scale_lr", r.scale_lr, 0.0, 1e6);
  f.get("reestimate_batches", r.reestimate_batches, 0, kMany);
  f.get("calibration_images", r.calibration_images, 1, kMany);
  const YAML::Node list = f.raw("config_list");
  if (list.IsDefined()) {
    if (!list.IsSequence()) throw f.error("config_list", "a list of mappings (NNI's config_list)");
    r.config_list = yaml_to_json(list, file).dump();
    for (size_t i = 0; i < list.size(); ++i)
      add_entry_lines(f, fmt::format("config_list entry {}", i + 1), list[i], r.lines);
  }
  if (!r.name.empty() && !list.IsDefined()) throw f.error("name", "a config_list beside it");
  for (const char* key : {"config_list", "compat", "integer", "float_epochs", "scale_lr",
                          "reestimate_batches", "calibration_images"}) {
    if (r.name.empty() && f.has(key)) {
      throw f.error(key, "nothing without quantizer.name (halftone list quantizers)");
    }
  }
  if (r.float_epochs > 0 && starts_by_itself(list)) {
    throw f.error("float_epochs",
                  "0, or an entry of config_list without a quant_start_step of its own");
  }
  if (!r.name.empty() && r.float_epochs > 0 && r.float_epochs >= epochs) {
    throw f.error("float_epochs", fmt::format("a number below the {} epochs of the run", epochs));
  }
  f.finish();
}

void read_training(YamlFields& f, Recipe& r) {
  r.lines = f.lines();
  get_folder_name(f, r.name);
  f.get("seed", r.seed, 0, kMany);
  f.get("threads", r.threads, 0, 4096);
  f.get("epochs", r.epochs, 0, kMany);
  f.get("batch_size", r.batch_size, 1, 1000000);
  f.get("test_batch_size", r.test_batch_size, 1, 1000000);
  f.get("accumulate", r.accumulate, 1, kMany);
  f.get("checkpoint_minutes", r.checkpoint_minutes, 0.0, 1e6);
  get_choice(f, "compute", r.compute, {"fp32", "bf16"});
  r.backward = r.compute;
  get_choice(f, "backward", r.backward, {"fp32", "bf16"});
}

YAML::Node list_entry(const YAML::Node& list, const std::string& key, const std::string& text) {
  const bool number = key.size() < 7 && key.find_first_not_of("0123456789") == std::string::npos;
  if (number && std::stoul(key) < list.size()) return list[std::stoul(key)];
  throw HALFTONE_ERROR("--set " + text)
      .expected(list.size() == 0 ? "a list with entries"
                                 : fmt::format("an entry from 0 to {}", list.size() - 1))
      .found("'" + key + "'");
}

// JSON, and so a checkpoint's header and a report, hold nothing else.
void check_utf8(const std::string& text, const std::string& file) {
  std::istringstream lines(text);
  int number = 1;
  try {
    for (std::string line; std::getline(lines, line); ++number) nlohmann::json(line).dump();
  } catch (const nlohmann::json::type_error&) {
    throw HALFTONE_ERROR("recipe")
        .at(fmt::format("{}:{}", file, number))
        .expected("UTF-8")
        .found("bytes that are none");
  }
}

// Sets the scalar or list at a dotted key: "optimizer.lr=0.01",
// "quantizer.config_list.0.quant_bits=4".
void apply_override(YAML::Node root, const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw HALFTONE_ERROR("--set")
        .expected("KEY=VALUE, as in optimizer.lr=0.01")
        .found("'" + text + "'");
  }
  std::istringstream keys(text.substr(0, equals));
  std::vector<YAML::Node> chain{root};  // Node's own assignment would overwrite the parent
  try {
    for (std::string key; std::getline(keys, key, '.');) {
      chain.push_back(chain.back().IsSequence() ? list_entry(chain.back(), key, text)
                                                : chain.back()[key]);
    }
    chain.back() = YAML::Clone(YAML::Load(text.substr(equals + 1)));  // a clone has no line numbers
  } catch (const YAML::BadSubscript&) {
    throw HALFTONE_ERROR("--set " + text)
        .expected("a key of the recipe")
        .found("one below a value that has no keys");
  } catch (const YAML::Exception& e) {
    throw HALFTONE_ERROR("--set " + text)
        .expected("a key of the recipe and a YAML value behind '='")
        .found(e.msg);
  }
}

YAML::Node load_yaml(const std::string& yaml, const std::string& file) {
  check_utf8(yaml, file);
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(yaml);
    if (documents.size() < 2) return documents.empty() ? YAML::Node() : documents[0];
    throw HALFTONE_ERROR("recipe")
        .at(file)
        .expected("one YAML document")
        .found(std::to_string(documents.size()) + ", with --- between them");
  } catch (const YAML::Exception& e) {
    throw HALFTONE_ERROR("recipe")
        .at(fmt::format("{}:{}", file, e.mark.line + 1))
        .expected("YAML")
        .found(e.msg);
  }
}

std::string read_text(const std::string& file) {
  if (std::filesystem::is_directory(file)) {
    throw HALFTONE_ERROR("recipe")
        .at(file)
        .expected("a YAML file")
        .found("a folder")
        .fix("--resume " + file + " goes on with a run");
  }
  std::ifstream in(file);
  std::stringstream text;
  if (in.peek() != std::ifstream::traits_type::eof())
    text << in.rdbuf();  // an empty file sets failbit
  if (!std::ifstream(file) || text.fail()) {
    throw HALFTONE_ERROR("recipe")
        .at(file)
        .expected("a readable YAML file")
        .found("none")
        .fix("examples/recipes/ holds recipes to start from");
  }
  return text.str();
}

}  // namespace

Recipe parse_recipe(const std::string& yaml, const std::string& file,
                    const std::vector<std::string>& overrides) {
  YAML::Node root = load_yaml(yaml, file);
  if (root.IsNull()) root = YAML::Node(YAML::NodeType::Map);
  const YamlFields whole(file, "", root, recipe_keys);  // refuses what is no mapping
  for (const std::string& o : overrides) apply_override(root, o);
  Recipe r;
  YamlFields f(file, "", root, recipe_keys);
  read_training(f, r);
  read_data(f.map("data"), r.data);
  read_model(f.map("model"), r.model);
  read_loss(f.map("loss"), r.loss);
  read_optimizer(f.map("optimizer"), file, r.optimizer);
  read_schedule(f.map("schedule"), r.schedule, r.epochs);
  read_quantizer(f.map("quantizer"), file, r.quantizer, r.epochs);
  if (r.epochs == 0 && (r.quantizer.name.empty() || r.model.weights.empty()))
    throw f.error("epochs", "at least 1 without a quantizer and model.weights, a trained network");
  f.finish();
  return r;
}

Recipe load_recipe(const std::string& file, const std::vector<std::string>& overrides) {
  return parse_recipe(read_text(file), file, overrides);
}

QuantizerRecipe load_quantizer_recipe(const std::string& file) {
  const YAML::Node root = load_yaml(read_text(file), file);  // JSON is YAML
  if (root.IsMap() && root["quantizer"].IsDefined()) {
    const QuantizerRecipe of_recipe = load_recipe(file).quantizer;
    if (!of_recipe.name.empty()) return of_recipe;
    throw HALFTONE_ERROR("quantize")
        .at(file)
        .expected("a quantizer section with name and config_list")
        .found("one without a name");
  }
  YAML::Node list(YAML::NodeType::Map);
  if (root.IsSequence()) {
    list["name"] = "ObserverQuantizer";
    list["config_list"] = root;
  }
  const YAML::Node& section = root.IsSequence() ? list : root;
  if (!section.IsMap() || !section["config_list"].IsDefined()) {
    throw HALFTONE_ERROR("quantize")
        .at(file)
        .expected("a config_list (a list of entries), or a mapping with name and config_list")
        .found(root.IsMap() ? "a mapping without config_list" : "something else");
  }
  QuantizerRecipe r;
  read_quantizer(YamlFields(file, "quantizer", section, recipe_keys), file, r, kMany);
  r.lines.section = file;  // the file's beginning looks like a value of --set
  if (root.IsSequence()) r.lines.keys["config_list"] = r.lines.keys["name"] = file;
  return r;
}

}  // namespace halftone
