#include "quant/quantizer.h"

#include <algorithm>
#include <set>

#include "nn/fuse.h"
#include "quant/fold.h"
#include "quant/range_quantize.h"

namespace halftone {
namespace {

LayerList layers_of(Module& model) {
  LayerList layers;
  for (auto& [path, module] : model.named_modules()) {
    if (!path.empty()) layers.emplace_back(path, module->type_name());
  }
  return layers;
}

void check_place(Module& module, QuantType type) {
  if (type == QuantType::kOutput || dynamic_cast<WeightLayer*>(&module) != nullptr) return;
  throw HALFTONE_ERROR("config")
      .at(module.path())
      .expected("a Conv2d or Linear, for quant_types " + name_of(type))
      .found("a " + module.type_name())
      .fix("list it with quant_types [\"output\"] only");
}

FakeQuantizeArgs args_for(Module& module, QuantType type, const QuantSpec& spec, bool integer) {
  FakeQuantizeArgs args;
  args.type = type;
  args.spec = spec;
  args.channels = 0;
  if (type == QuantType::kWeight && spec.per_channel) {
    const Shape& shape = dynamic_cast<WeightLayer&>(module).weight.shape();
    args.channels = shape[memory_axis(spec.axis, shape.rank())];
  }
  args.emits_codes = integer && type != QuantType::kWeight && type != QuantType::kBias;
  return args;
}

void check_fresh(Module& model) {
  for (auto& [path, module] : model.named_modules()) {
    if (dynamic_cast<FakeQuantize*>(module) == nullptr) continue;
    throw HALFTONE_ERROR("quantizer")
        .what_happened("the model is quantized already: it has " + path)
        .fix("build the model anew for another quantizer");
  }
}

// Where the batch norm stays apart, the chain ends before it. NNI folds what follows directly.
void set_fold(Chain& chain) {
  chain.fold = chain.weight->spec().fold;
  const bool apart =
      chain.fold == FoldMode::kNone || (chain.fold == FoldMode::kNni && chain.pool != nullptr);
  if (!apart || chain.norm == nullptr) return;
  chain.fold = FoldMode::kNone;
  chain.pool = nullptr;
  chain.norm = nullptr;
  chain.activation = nullptr;
}

// A slot is never taken from another pass.
void place(Slot& slot, const std::string& name, const Module& module,
           const std::shared_ptr<FakeQuantize>& quantizer) {
  if (slot) {
    throw HALFTONE_ERROR("quantizer")
        .at(module.path())
        .expected("an empty slot for " + name)
        .found("a " + slot->type_name())
        .fix("take it out, or leave the layer out of config_list");
  }
  slot.set(name, quantizer);
}

}  // namespace

Quantizer::Quantizer(Module& model, ConfigList config_list, Optimizer* optimizer,
                     Tensor dummy_input, const QuantizerOptions& options)
    : model_(model),
      config_list_(std::move(config_list)),
      optimizer_(optimizer),
      dummy_(std::move(dummy_input)),
      options_(options) {
  if (options_.nni) options_.integer = false;
}

std::shared_ptr<FakeQuantize> Quantizer::make_fake_quantize(Module& module,
                                                            const FakeQuantizeArgs& args) const {
  return make<RangeQuantize>(module.context(), args);
}

void Quantizer::set_quant_scheme_dtype(const std::string& type, const std::string& scheme,
                                       const std::string& dtype) {
  if (prepared_) {
    throw HALFTONE_ERROR("set_quant_scheme_dtype")
        .expected("a call before the quantizers are in the model")
        .found("one after it")
        .fix("say quant_scheme and quant_dtype in config_list");
  }
  const std::vector<std::string> keys = rules().keys;
  if (std::count(keys.begin(), keys.end(), "quant_scheme") == 0) {
    throw HALFTONE_ERROR("set_quant_scheme_dtype")
        .expected("a quantizer with schemes")
        .found(name() + ", whose grids are fixed");
  }
  for (const QuantType t : {QuantType::kWeight, QuantType::kInput, QuantType::kOutput}) {
    if (name_of(t) != type) continue;
    set_scheme(scheme, "set_quant_scheme_dtype", defaults_[t]);
    return set_dtype(dtype, "set_quant_scheme_dtype", defaults_[t]);
  }
  throw HALFTONE_ERROR("set_quant_scheme_dtype")
      .expected("weight, input or output")
      .found("\"" + type + "\"");
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

void Quantizer::compress() {
  prepare();
  if (compressed_) return;
  convert();
  compressed_ = true;
}

void Quantizer::prepare() {
  if (prepared_) return;
  refresh_paths(model_);
  check_fresh(model_);
  read_config();
  if (dummy_.defined()) graph_ = trace(model_, Variable(dummy_));
  create_points();
  if (points_.empty())
    warnings_.push_back("config_list quantizes nothing: no entry matches a layer");
  check_options();
  create_chains();
  prepare_points();
  if (graph_.has_value() && !options_.nni) group_edges();
  if (graph_.has_value()) share_edges();
  bind_biases();
  fill_slots();
  tree_ = std::make_shared<TreeWatch>(model_);
  for (const ChainPtr& chain : chains_) {
    chain->tree = tree_;
    chain->grid = chain->input != nullptr ? chain->input
                  : graph_.has_value()    ? arriving_codes(model_, *graph_, chain->anchor->path())
                                          : nullptr;
    held_.push_back(chain->anchor->weak_from_this().lock());
    install(chain);
  }
  for (const ChainPtr& chain : folds_) {
    chain->tree = tree_;
    held_.push_back(chain->anchor->weak_from_this().lock());
    install_unfused(chain);
  }
  for (const SumPtr& sum : sums_) {
    sum->tree = tree_;
    held_.push_back(sum->add->weak_from_this().lock());
    if (options_.integer) install(sum);
  }
  if (options_.integer) install_code_dropout(model_);
  // What runs in floats, as residual sums do.
  if (dummy_.defined()) fuse_layers(model_, trace(model_, Variable(dummy_)));
  refresh_paths(model_);
  prepared_ = true;
  if (optimizer_ != nullptr) join_optimizer();
}

void Quantizer::check_options() const {
  if (options_.fold && !rules().fold) {
    throw HALFTONE_ERROR("quantizer")
        .at("fold")
        .expected("a quantizer that folds batch norm by mode, QAT_Quantizer or LsqQuantizer")
        .found(name());
  }
  const bool learns =
      points_.empty() || std::any_of(points_.begin(), points_.end(), [](const QuantPoint& point) {
        return !point.quantizer->learned().empty();
      });
  if (learns || options_.scale_lr == 1.0) return;
  throw HALFTONE_ERROR("quantizer")
      .at("scale_lr")
      .expected("a quantizer that learns its scales, as LsqQuantizer")
      .found(name());
}

void Quantizer::join_optimizer() {
  optimizer_->take_in(model_);
  prepare_optimizer(*optimizer_);
  optimizer_->on_step([this, alive = std::weak_ptr<const bool>(alive_)] {
    if (!alive.expired()) advance_step();
  });
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
  check_place(module, type);
  auto quantizer = make_fake_quantize(module, args_for(module, type, spec, options_.integer));
  quantizer->train(module.training());
  points_.push_back({module.path(), type, std::move(quantizer)});
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

QuantPoint* Quantizer::find_point(const std::string& module, QuantType type) {
  for (QuantPoint& point : points_) {
    if (point.module == module && point.type == type) return &point;
  }
  return nullptr;
}

std::shared_ptr<FakeQuantize> Quantizer::quantizer_of(const std::string& module, QuantType type) {
  const QuantPoint* point = find_point(module, type);
  return point == nullptr ? nullptr : point->quantizer;
}

void Quantizer::reject(const std::string& module, const std::string& why) {
  obstacles_[module] = why;
  warnings_.push_back(module +
                      " runs on the float path and cannot be deployed as integers: " + why);
}

std::string Quantizer::chain_obstacle(const Chain& chain) const {
  const std::string why = chain.weight->integer_obstacle();
  if (!why.empty()) return why;
  if (chain.norm != nullptr && chain.fold == FoldMode::kNni) return "NNI's batch-norm folding";
  if (chain.quantizes_folded() && !chain.weight->learned().empty())
    return "a learned scale of folded weights";
  return chain.input != nullptr ? chain.input->integer_obstacle() : "";
}

void Quantizer::create_chains() {
  std::set<std::string> norms;
  for (const ChainPtr& chain : graph_ ? find_chains(model_, *graph_) : lone_chains(model_)) {
    const std::string& path = chain->anchor->path();
    chain->weight = quantizer_of(path, QuantType::kWeight);
    chain->input = quantizer_of(path, QuantType::kInput);
    if (chain->weight == nullptr) continue;
    const std::string norm = chain->norm == nullptr ? "" : chain->norm->path();
    if (!norm.empty()) norms.insert(path);
    set_fold(*chain);
    if (!norm.empty() && chain->norm == nullptr && chain->weight->spec().fold == FoldMode::kNni)
      warn("fold \"nni\" of " + path + ": no effect, max pooling lies between it and " + norm);
    const std::string why = options_.integer ? chain_obstacle(*chain) : "";
    if (!why.empty()) reject(path, why);
    if (why.empty() && options_.integer) {
      chain->gradient =
          std::dynamic_pointer_cast<DorefaGradient>(quantizer_of(path, QuantType::kGradient));
      chain->output = last_output(
          {chain->anchor, chain->pool.get(), chain->norm.get(), chain->activation.get()});
      chains_.push_back(chain);
    } else if (chain->norm != nullptr) {
      folds_.push_back(chain);
    }
  }
  warn_of_idle_keys(norms);
}

// One output quantizer for modules computed as one, behind the last: the last one that the
// configuration names. Null where it names none.
std::shared_ptr<FakeQuantize> Quantizer::last_output(const std::vector<Module*>& members) {
  std::shared_ptr<FakeQuantize> last;
  for (Module* member : members) {
    const auto named =
        member == nullptr ? nullptr : quantizer_of(member->path(), QuantType::kOutput);
    if (named == nullptr) continue;
    if (last != nullptr) {
      warnings_.push_back("the output quantizer before " + member->path() +
                          " is left out: one quantizer stands behind what is computed together");
      points_.erase(std::find_if(points_.begin(), points_.end(),
                                 [&](const QuantPoint& p) { return p.quantizer == last; }));
    }
    last = named;
  }
  return last;
}

void Quantizer::fill_slots() {
  std::set<FakeQuantize*> placed;
  for (const ChainPtr& chain : chains_) {
    if (chain->output == nullptr) continue;
    Module& tail = chain->tail();
    place(tail.output_transform(), "activation_post_process", tail, chain->output);
    placed.insert(chain->output.get());
    if (!chain->output->fits_epilogue()) chain->output = nullptr;  // it stands behind the chain
  }
  for (const SumPtr& sum : sums_) {
    Module& tail = sum->tail();
    place(tail.output_transform(), "activation_post_process", tail, sum->output);
    placed.insert(sum->output.get());
  }
  // An edge's quantizer stands where its value is made: outputs come first.
  for (const bool outputs : {true, false}) {
    for (const QuantPoint& point : points_) {
      if ((point.type == QuantType::kOutput) != outputs) continue;
      if (placed.insert(point.quantizer.get()).second) fill_slot(point);
    }
  }
}

void Quantizer::fill_slot(const QuantPoint& point) {
  Module& module = *model_.find(point.module);
  if (point.type == QuantType::kOutput)
    return place(module.output_transform(), "activation_post_process", module, point.quantizer);
  auto& layer = dynamic_cast<WeightLayer&>(module);
  Slot& slot = point.type == QuantType::kWeight     ? layer.weight_transform()
               : point.type == QuantType::kGradient ? layer.gradient_transform()
               : point.type == QuantType::kBias     ? layer.bias_transform()
                                                    : layer.input_transform();
  place(slot, name_of(point.type) + "_fake_quant", module, point.quantizer);
}

int64_t Quantizer::step() const { return points_.empty() ? 1 : points_[0].quantizer->steps(); }

void Quantizer::advance_step() {
  std::set<FakeQuantize*> seen;
  for (const QuantPoint& point : points_) {
    if (!seen.insert(point.quantizer.get()).second) continue;
    point.quantizer->set_steps(point.quantizer->steps() + 1);
    point.quantizer->after_step();
  }
}

std::string Quantizer::integer_obstacle(const std::string& module) const {
  const auto known = obstacles_.find(module);
  if (known != obstacles_.end()) return known->second;
  if (!options_.integer)
    return options_.nni ? "NNI's arithmetic was asked for" : "the float path was asked for";
  for (const ChainPtr& chain : chains_) {
    if (chain->anchor->path() != module) continue;
    return chain->grid != nullptr ? "" : "no quantized input reaches it";
  }
  for (const SumPtr& sum : sums_) {
    if (sum->add->path() == module) return "";
  }
  return "its weight is not quantized";
}

}  // namespace halftone
