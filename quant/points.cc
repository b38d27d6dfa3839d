// Quantizer: from config_list to the points of the model.
#include <algorithm>

#include "quant/quantizer.h"
#include "tensor/nearest.h"

namespace halftone {
namespace {

LayerList layers_of(Module& model) {
  LayerList layers;
  for (auto& [path, module] : model.named_modules()) {
    if (!path.empty()) layers.emplace_back(path, module->type_name());
  }
  return layers;
}

// Dimensions of what is quantized there; 0 where only a graph would know.
int rank_of(Module& module, const std::optional<Graph>& graph) {
  auto* layer = dynamic_cast<WeightLayer*>(&module);
  if (layer != nullptr) return layer->weight.shape().rank();  // its input and its output too
  int rank = 0;
  for (const GraphNode& node : graph.has_value() ? graph->nodes() : std::vector<GraphNode>())
    if (node.module_path == module.path()) rank = node.output_shape.rank();
  return rank;
}

void check_axis(const Module& module, QuantType type, int axis, int rank) {
  if (rank == 0 || (axis >= -rank && axis < rank)) return;
  const bool weight = type == QuantType::kWeight;
  throw HALFTONE_ERROR("config")
      .at("axis of " + module.path() + "'s " + name_of(type))
      .expected("-" + std::to_string(rank) + " to " + std::to_string(rank - 1) + ", as " +
                (weight ? "a " : "an ") + name_of(type) + " of " + module.type_name() + " has " +
                std::to_string(rank) + " dimensions")
      .found(std::to_string(axis))
      .fix(weight ? "0 is the output channel" : "0 is the batch, 1 the channel");
}

FakeQuantizeArgs args_for(Module& module, QuantType type, const QuantSpec& spec, bool integer,
                          const std::optional<Graph>& graph) {
  FakeQuantizeArgs args;
  args.type = type;
  args.spec = spec;
  args.channels = 0;
  const int rank = rank_of(module, graph);
  if (spec.per_channel) check_axis(module, type, spec.axis, rank);
  if (spec.axis < 0) args.spec.axis += rank;
  if (type == QuantType::kWeight && spec.per_channel) {
    const Shape& shape = dynamic_cast<WeightLayer&>(module).weight.shape();
    args.channels = shape[memory_axis(spec.axis, rank)];
  }
  args.emits_codes = integer && type != QuantType::kWeight && type != QuantType::kBias;
  return args;
}

std::string list_of(const std::vector<QuantType>& types) {
  std::string text;
  for (const QuantType type : types) text += (text.empty() ? "" : ", ") + name_of(type);
  return text;
}

// Those that NNI has schemes of.
std::vector<QuantType> types_with_schemes(const ConfigRules& rules) {
  std::vector<QuantType> types;
  for (const QuantType t : rules.types) {
    if (t != QuantType::kGradient && t != QuantType::kBias) types.push_back(t);
  }
  return types;
}

// The layer inside of a container that runs last: as the graph has it, or as it lies in the tree.
std::string last_inside(Module& container, const std::optional<Graph>& graph) {
  std::string last;
  for (auto& [path, module] : container.named_modules()) {
    if (module->children().empty()) last = module->path();
  }
  if (!graph.has_value()) return last;
  for (const GraphNode& node : graph->nodes()) {
    if (node.module_path.rfind(container.path() + ".", 0) == 0) last = node.module_path;
  }
  return last;
}

// A container's result is that of a layer inside, which may be computed together with others.
void check_output(Module& module, const std::optional<Graph>& graph) {
  if (module.children().empty()) return;
  throw HALFTONE_ERROR("config")
      .at("quant_types")
      .expected("a layer for \"output\"")
      .found(module.path() + ", a " + module.type_name() + " made of other modules")
      .fix("quantize the output of " + last_inside(module, graph) + ", which makes its result");
}

void check_place(Module& model, Module& module, QuantType type) {
  if (dynamic_cast<WeightLayer*>(&module) != nullptr) return;
  std::vector<std::string> with_weight;
  for (auto& [path, other] : model.named_modules()) {
    if (dynamic_cast<WeightLayer*>(other) != nullptr) with_weight.push_back(path);
  }
  std::string near = did_you_mean(module.path(), with_weight);
  if (near.empty()) near = " (" + short_list(with_weight, 4) + ")";
  throw HALFTONE_ERROR("config")
      .at("quant_types")
      .expected("a Conv2d or Linear for \"" + name_of(type) + "\"" + near)
      .found(module.path() + ", a " + module.type_name())
      .fix("list " + module.path() + " in an entry with quant_types [\"output\"]");
}

}  // namespace

void Quantizer::set_quant_scheme_dtype(const std::string& type, const std::string& scheme,
                                       const std::string& dtype) {
  ConfigRules all = rules();
  if (std::count(all.keys.begin(), all.keys.end(), "quant_scheme") == 0) {
    throw HALFTONE_ERROR("set_quant_scheme_dtype")
        .expected("a quantizer with quant_scheme and quant_dtype")
        .found(name() + ", whose grids are fixed");
  }
  const std::vector<QuantType> types = types_with_schemes(all);
  const auto named =
      std::find_if(types.begin(), types.end(), [&type](QuantType t) { return name_of(t) == type; });
  if (named == types.end()) {
    throw HALFTONE_ERROR("set_quant_scheme_dtype")
        .at("quant_type")
        .expected("one of what " + name() + " quantizes: " + list_of(types))
        .found("\"" + type + "\"");
  }
  QuantSpec& spec = all.defaults[*named];
  set_scheme(scheme, "set_quant_scheme_dtype, quant_scheme", spec);
  set_dtype(dtype, "set_quant_scheme_dtype, quant_dtype", spec);
  if (prepared_ && !can_prepare_anew()) {
    throw HALFTONE_ERROR("set_quant_scheme_dtype")
        .expected("a call before " +
                  std::string(needs_calibration() ? "anything is recorded" : "compress()"))
        .found("a later one")
        .fix("say quant_scheme and quant_dtype of " + type + " in config_list");
  }
  if (prepared_) return prepare_anew(*named, spec);
  defaults_[*named] = spec;
}

void Quantizer::read_config() {
  ConfigRules all = rules();
  for (const QuantType type : all.types) {
    const auto changed = defaults_.find(type);
    QuantSpec& spec = all.defaults[type];
    if (changed != defaults_.end()) spec = changed->second;
    spec.start_step = options_.start_step;
    spec.nni = options_.nni;
    if (all.fold)
      spec.fold = options_.fold.value_or(options_.nni ? FoldMode::kNni : FoldMode::kScale);
  }
  config_ = parse_config(config_list_, all, layers_of(model_));
  warnings_ = config_.warnings;
}

// The first and the last Conv2d or Linear: as they run, or, without a graph, as they lie in the
// tree.
std::pair<std::string, std::string> Quantizer::outer_layers() const {
  std::vector<std::string> paths;
  const auto add = [&](const std::string& path) {
    if (dynamic_cast<WeightLayer*>(model_.find(path)) != nullptr) paths.push_back(path);
  };
  if (graph_) {
    for (const GraphNode& node : graph_->nodes()) add(node.module_path);
  } else {
    for (auto& [path, module] : model_.named_modules()) add(path);
  }
  if (paths.empty()) return {};
  return {paths.front(), paths.back()};
}

void Quantizer::create_point(Module& module, QuantType type, const QuantSpec& spec) {
  if (type == QuantType::kOutput) {
    check_output(module, graph_);
  } else {
    check_place(model_, module, type);
  }
  auto quantizer =
      make_fake_quantize(module, args_for(module, type, spec, options_.integer, graph_));
  quantizer->train(module.training());
  points_.push_back({module.path(), type, std::move(quantizer), module.path()});
}

void Quantizer::create_points() {
  const auto [first, last] = outer_layers();
  for (auto& [path, module] : model_.named_modules()) {
    if (path.empty()) continue;
    const ConfigEntry* entry = config_.select(path, module->type_name());
    if (entry == nullptr) continue;
    for (auto [type, spec] : entry->specs) {
      if (path == first && spec.first_bits > 0) spec.bits = spec.first_bits;
      if (path == last && spec.last_bits > 0) spec.bits = spec.last_bits;
      try {
        create_point(*module, type, spec);
      } catch (Error& e) {
        throw e.inside(number_of(*entry));
      }
    }
  }
}

}  // namespace halftone
