#include <map>

#include "quant/chain.h"

namespace halftone {
namespace {

using ModulesByPath = std::map<std::string, Module*>;

ModulesByPath modules_by_path(Module& model) {
  ModulesByPath out;
  for (auto& [path, module] : model.named_modules()) out[path] = module;
  return out;
}

// The one consumer of a node's output when its module is an M that runs once; else null, and `node`
// stays.
template <class M>
std::shared_ptr<M> next(const ModulesByPath& modules, const Graph& graph, int& node) {
  const int consumer = graph.only_consumer(node);
  if (consumer < 0) return nullptr;
  const std::string& path = graph.nodes()[consumer].module_path;
  const auto module = modules.find(path);
  if (module == modules.end() || graph.only_node(path) < 0) return nullptr;
  auto found = std::dynamic_pointer_cast<M>(module->second->weak_from_this().lock());
  if (found != nullptr) node = consumer;
  return found;
}

// The last operation that a module ran; -1 without one.
int last_node(const Graph& graph, const std::string& path) {
  for (int i = static_cast<int>(graph.nodes().size()) - 1; i >= 0; --i) {
    if (graph.nodes()[i].module_path == path) return i;
  }
  return -1;
}

ChainPtr start_chain(Module* module) {
  auto* layer = dynamic_cast<WeightLayer*>(module);
  if (layer == nullptr) return nullptr;
  auto chain = std::make_shared<Chain>();
  chain->anchor = layer;
  chain->conv = dynamic_cast<Conv2d*>(module);
  return chain;
}

void collect(const ModulesByPath& modules, const Graph& graph, int value,
             const IsQuantized& is_quantized, std::vector<Module*>& ends) {
  const std::vector<int> consumers = graph.consumers(value);
  if (consumers.empty() || value == graph.output()) ends.push_back(nullptr);
  for (const int index : consumers) {
    const GraphNode& node = graph.nodes()[index];
    const bool passes = passes_codes(node.op), quantized = is_quantized(node.module_path);
    if (passes && !quantized) {
      collect(modules, graph, node.output, is_quantized, ends);
      continue;
    }
    const auto found = modules.find(node.module_path);
    const bool reads = passes || node.op == "conv2d" || node.op == "linear";
    ends.push_back(reads && found != modules.end() ? found->second : nullptr);
  }
}

}  // namespace

bool passes_codes(const std::string& op) {
  return op == "max_pool2d" || op == "flatten" || op == "reshape" || op == "identity" ||
         op == "subsample_pad";
}

Module& Chain::tail() const {
  if (activation != nullptr) return *activation;
  if (norm != nullptr) return *norm;
  return *anchor;
}

namespace {

// Takes [max pooling] - batch norm in. False where the chain ends there: behind an output
// transform, and before an activation that another pass has joined to a member, which is not ours
// to undo.
bool take_norm(const ModulesByPath& modules, const Graph& graph, Chain& chain, int& node) {
  const auto is_plain = [](Module& m, const ActivationOptions& fused) {
    return !m.output_transform() && fused.kind == Activation::kIdentity;
  };
  int at = node;
  auto pool = next<MaxPool2d>(modules, graph, at);
  if (pool != nullptr && !is_plain(*pool, pool->fused_activation)) return false;
  auto norm = next<BatchNorm>(modules, graph, at);
  if (norm == nullptr) return pool == nullptr;
  if (norm->fused_activation.kind != Activation::kIdentity) return false;
  chain.pool = pool;
  chain.norm = norm;
  node = at;
  return !norm->output_transform();
}

}  // namespace

std::vector<ChainPtr> find_chains(Module& model, const Graph& graph) {
  const ModulesByPath modules = modules_by_path(model);
  std::vector<ChainPtr> chains;
  for (auto& [path, module] : model.named_modules()) {
    ChainPtr chain = start_chain(module);
    int node = graph.only_node(path);
    if (chain == nullptr) continue;
    chains.push_back(chain);
    if (node < 0 || module->output_transform()) continue;
    if (!take_norm(modules, graph, *chain, node)) continue;
    auto activation = next<ActivationLayer>(modules, graph, node);
    if (activation != nullptr && is_clamp(activation->options().kind))
      chain->activation = activation;
  }
  return chains;
}

std::vector<ChainPtr> lone_chains(Module& model) {
  std::vector<ChainPtr> chains;
  for (auto& [path, module] : model.named_modules()) {
    if (ChainPtr chain = start_chain(module)) chains.push_back(chain);
  }
  return chains;
}

std::vector<Module*> consumers_of(Module& model, const Graph& graph, const Chain& chain,
                                  const IsQuantized& is_quantized) {
  std::vector<Module*> ends;
  for (const GraphNode& node : graph.nodes()) {
    if (node.module_path == chain.tail().path()) {
      collect(modules_by_path(model), graph, node.output, is_quantized, ends);
    }
  }
  return ends;
}

std::shared_ptr<FakeQuantize> arriving_codes(Module& model, const Graph& graph,
                                             const std::string& path) {
  const ModulesByPath modules = modules_by_path(model);
  int index = graph.only_node(path);
  while (index >= 0) {
    const GraphNode& node = graph.nodes()[index];
    index = node.inputs.empty() ? -1 : graph.producer(node.inputs[0]);
    if (index < 0) break;
    const GraphNode& before = graph.nodes()[index];
    const auto module = modules.find(before.module_path);
    // A module's transform sees the result of its last operation only.
    if (module != modules.end() && last_node(graph, before.module_path) == index) {
      auto quantizer =
          std::dynamic_pointer_cast<FakeQuantize>(module->second->output_transform().ptr());
      if (quantizer != nullptr && quantizer->emits_codes()) return quantizer;
    }
    if (!passes_codes(before.op)) break;
  }
  return nullptr;
}

}  // namespace halftone
