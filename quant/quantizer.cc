#include "quant/quantizer.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "nn/input_check.h"
#include "quant/fold.h"
#include "quant/range_quantize.h"
#include "quant/weight_batch.h"

namespace halftone {
namespace {

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
  if (chain.norm == nullptr) return;
  if (chain.fold == FoldMode::kNni && chain.pool != nullptr) chain.fold = FoldMode::kNone;
  chain.weight->set_fold(chain.fold);
  if (chain.fold != FoldMode::kNone) return;
  chain.pool = nullptr;
  chain.norm = nullptr;
  chain.activation = nullptr;
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

void Quantizer::compress() {
  prepare();
  if (compressed_) return;
  convert();
  compressed_ = true;
}

// All or nothing: where it throws, the model is as it was.
void Quantizer::prepare() {
  if (prepared_) return;
  if (!model_.context().on_cpu() && !integer_on_device()) options_.integer = false;
  refresh_paths(model_);
  check_fresh(model_);
  for (auto& [path, module] : model_.named_modules()) executors_[module] = module->executor();
  try {
    create();
    fill_slots();
    install_all();
    refresh_paths(model_);
    finish_prepare();
    if (optimizer_ != nullptr) join_optimizer();
  } catch (...) {
    take_out();
    throw;
  }
  prepared_ = true;
}

// From config_list to points, chains and sums; the model stays as it is.
void Quantizer::create() {
  read_config();
  check_options();
  if (dummy_.defined()) graph_ = trace(model_, Variable(dummy_));
  create_points();
  if (points_.empty()) warn("config_list quantizes nothing: no entry matches a layer");
  check_learning_rate();
  create_chains();
  const bool groups = graph_.has_value() && !options_.nni;
  if (groups) find_sums();
  prepare_points();
  if (groups) group_edges();
  if (graph_.has_value()) share_edges();
  bind_places();
  if (graph_.has_value() && options_.integer) {
    averages_ = find_averages(model_, *graph_, chains_,
                              [this](const std::string& path) { return quantizer_behind(path); });
  }
  bind_biases();
}

// Of everything that is computed on codes, or folds its batch norm.
void Quantizer::install_all() {
  tree_ = std::make_shared<TreeWatch>(model_);
  install_chains();
  for (const SumPtr& sum : sums_) {
    sum->tree = tree_;
    held_.push_back(sum->add->weak_from_this().lock());
    if (options_.integer) install(sum);
  }
  for (const AveragePtr& average : averages_) {
    average->tree = tree_;
    held_.push_back(average->pool->weak_from_this().lock());
    install(average);
  }
  if (options_.integer) install_code_dropout(model_);
  // What runs in floats, as residual sums do.
  if (dummy_.defined()) fused_ = fuse_layers(model_, trace(model_, Variable(dummy_)));
  if (options_.integer) warn_of_floats();
}

void Quantizer::install_chains() {
  const auto batch = model_.context().on_cpu() ? nullptr : std::make_shared<WeightBatch>();
  for (const ChainPtr& chain : chains_) {
    chain->tree = tree_;
    chain->batch = batch;
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
}

// Undoes prepare(), or what of it is done.
void Quantizer::take_out() {
  fused_.unfuse();
  for (auto& [path, module] : model_.named_modules()) {
    const auto executor = executors_.find(module);
    if (executor != executors_.end()) module->set_executor(executor->second);
    if (auto* norm = dynamic_cast<BatchNorm*>(module)) norm->fused_sign = nullptr;
    for (Slot* slot : module->slots()) {
      const auto name = placed_.find(slot);
      if (name != placed_.end()) slot->set(name->second, nullptr);
    }
  }
  refresh_paths(model_);
  fused_ = {};
  executors_.clear(), placed_.clear(), held_.clear();
  points_.clear(), chains_.clear(), folds_.clear(), sums_.clear(), averages_.clear();
  warnings_.clear(), obstacles_.clear();
  graph_.reset(), tree_.reset();
  prepared_ = false;
}

// With these defaults; as before where config_list does not allow them.
void Quantizer::prepare_anew(QuantType type, const QuantSpec& defaults) {
  const std::map<QuantType, QuantSpec> before = defaults_;
  take_out();
  try {
    defaults_[type] = defaults;
    prepare();
  } catch (...) {
    defaults_ = before;
    prepare();
    throw;
  }
}

void Quantizer::check_options() const {
  if (options_.fold && !rules().fold) {
    throw HALFTONE_ERROR("quantizer")
        .at("fold")
        .expected("a quantizer that folds batch norm by mode, QAT_Quantizer or LsqQuantizer")
        .found(name());
  }
  if (std::isfinite(options_.scale_lr) && options_.scale_lr >= 0) return;
  throw HALFTONE_ERROR("quantizer")
      .at("scale_lr")
      .expected("a finite factor of the learning rate, 0 or more")
      .found(short_number(options_.scale_lr));
}

void Quantizer::check_learning_rate() const {
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
  if (joined_) return;
  optimizer_->take_in(model_);
  prepare_optimizer(*optimizer_);
  const std::weak_ptr<const bool> alive(alive_);
  const auto while_alive = [this, alive](void (Quantizer::*follow)()) {
    return [this, alive, follow] {
      if (!alive.expired()) (this->*follow)();
    };
  };
  optimizer_->on_step(while_alive(&Quantizer::advance_step), while_alive(&Quantizer::count_step));
  joined_ = true;
}

const QuantPoint* Quantizer::find_point(const std::string& module, QuantType type) const {
  for (const QuantPoint& point : points_) {
    if (point.module == module && point.type == type) return &point;
  }
  return nullptr;
}

QuantPoint* Quantizer::find_point(const std::string& module, QuantType type) {
  return const_cast<QuantPoint*>(std::as_const(*this).find_point(module, type));
}

std::shared_ptr<FakeQuantize> Quantizer::quantizer_of(const std::string& module,
                                                      QuantType type) const {
  const QuantPoint* point = find_point(module, type);
  return point == nullptr ? nullptr : point->quantizer;
}

void Quantizer::create_chains() {
  std::set<std::string> norms;
  const std::vector<ChainPtr> all = graph_ ? find_chains(model_, *graph_) : lone_chains(model_);
  for (const ChainPtr& chain : all) {
    const std::string& path = chain->anchor->path();
    chain->weight = quantizer_of(path, QuantType::kWeight);
    chain->input = quantizer_of(path, QuantType::kInput);
    if (chain->weight == nullptr) continue;
    const std::string norm = chain->norm == nullptr ? "" : chain->norm->path();
    if (!norm.empty()) norms.insert(path);
    set_fold(*chain);
    if (!norm.empty() && chain->norm == nullptr && chain->weight->spec().fold == FoldMode::kNni)
      warn("fold \"nni\" of " + path + ": no effect, max pooling lies between it and " + norm);
    settle_outputs(*chain);
    const std::string why = options_.integer ? chain_obstacle(*chain) : "";
    if (!why.empty()) reject(path, why);
    if (why.empty() && options_.integer) {
      chain->gradient =
          std::dynamic_pointer_cast<DorefaGradient>(quantizer_of(path, QuantType::kGradient));
      chains_.push_back(chain);
    } else if (chain->norm != nullptr) {
      folds_.push_back(chain);
    }
  }
  warn_of_moved_outputs(all);
  warn_of_idle_keys(norms);
}

int64_t Quantizer::step() const { return points_.empty() ? 1 : points_[0].quantizer->steps(); }

std::vector<FakeQuantize*> Quantizer::quantizers() const {
  std::vector<FakeQuantize*> all;
  std::set<FakeQuantize*> seen;
  for (const QuantPoint& point : points_) {
    if (seen.insert(point.quantizer.get()).second) all.push_back(point.quantizer.get());
  }
  return all;
}

void Quantizer::count_step() {
  for (FakeQuantize* q : quantizers()) q->set_steps(q->steps() + 1);
}

void Quantizer::advance_step() {
  count_step();
  for (FakeQuantize* q : quantizers()) q->after_step();
}

}  // namespace halftone
