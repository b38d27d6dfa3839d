#include <map>
#include <set>

#include "quant/chain.h"

namespace halftone {
namespace {

// Node indices by the module that ran them.
using NodesByModule = std::map<std::string, std::vector<int>>;

NodesByModule nodes_by_module(const Graph& graph) {
  NodesByModule out;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    out[graph.nodes()[i].module_path].push_back(static_cast<int>(i));
  }
  return out;
}

class Finder {
 public:
  Finder(Module& model, const Graph& graph) : graph_(graph), nodes_(nodes_by_module(graph)) {
    for (auto& [path, module] : model.named_modules()) modules_[path] = module;
  }

  // The module's only node; -1 when it ran more or less than once.
  int only_node(const std::string& path) const {
    const auto found = nodes_.find(path);
    return found == nodes_.end() || found->second.size() != 1 ? -1 : found->second[0];
  }

  // The one consumer of a node's output when its module is an M that runs once; else null, and
  // `node` stays.
  template <class M>
  std::shared_ptr<M> next(int& node) const {
    const int value = graph_.nodes()[node].output;
    const std::vector<int> consumers = graph_.consumers(value);
    if (consumers.size() != 1 || value == graph_.output()) return nullptr;
    const std::string& path = graph_.nodes()[consumers[0]].module_path;
    const auto module = modules_.find(path);
    if (module == modules_.end() || only_node(path) < 0) return nullptr;
    auto found = std::dynamic_pointer_cast<M>(module->second->weak_from_this().lock());
    if (found == nullptr) return nullptr;
    node = consumers[0];
    return found;
  }

 private:
  const Graph& graph_;
  NodesByModule nodes_;
  std::map<std::string, Module*> modules_;
};

bool is_clamp(const ActivationLayer& layer) {
  const Activation kind = layer.options().kind;
  return kind == Activation::kReLU || kind == Activation::kReLU6 || kind == Activation::kHardtanh;
}

ChainPtr start_chain(Module* module) {
  auto chain = std::make_shared<Chain>();
  chain->anchor = module;
  chain->conv = dynamic_cast<Conv2d*>(module);
  chain->linear = dynamic_cast<Linear*>(module);
  return chain->conv != nullptr || chain->linear != nullptr ? chain : nullptr;
}

bool passes_codes(const std::string& op) {
  return op == "max_pool2d" || op == "flatten" || op == "reshape" || op == "identity";
}

void collect(const std::map<std::string, Module*>& modules, const Graph& graph, int value,
             std::vector<Module*>& ends) {
  const std::vector<int> consumers = graph.consumers(value);
  if (consumers.empty() || value == graph.output()) ends.push_back(nullptr);
  for (const int index : consumers) {
    const GraphNode& node = graph.nodes()[index];
    if (passes_codes(node.op)) {
      collect(modules, graph, node.output, ends);
      continue;
    }
    const auto found = modules.find(node.module_path);
    const bool layer = node.op == "conv2d" || node.op == "linear";
    ends.push_back(layer && found != modules.end() ? found->second : nullptr);
  }
}

std::map<std::string, Module*> modules_by_path(Module& model) {
  std::map<std::string, Module*> out;
  for (auto& [path, module] : model.named_modules()) out[path] = module;
  return out;
}

}  // namespace

Module& Chain::tail() const {
  if (activation != nullptr) return *activation;
  if (norm != nullptr) return *norm;
  return *anchor;
}

std::vector<ChainPtr> find_chains(Module& model, const Graph& graph, bool fold) {
  const Finder finder(model, graph);
  std::vector<ChainPtr> chains;
  for (auto& [path, module] : model.named_modules()) {
    ChainPtr chain = start_chain(module);
    int node = finder.only_node(path);
    if (chain == nullptr) continue;
    chains.push_back(chain);
    if (node < 0 || module->output_transform()) continue;
    if (fold) {
      chain->norm = finder.next<BatchNorm>(node);
      // An activation that another pass has joined to the batch norm is not ours to undo.
      if (chain->norm != nullptr && chain->norm->fused_activation.kind != Activation::kIdentity) {
        chain->norm = nullptr;
        continue;
      }
      if (chain->norm != nullptr && chain->norm->output_transform()) continue;
    }
    auto activation = finder.next<ActivationLayer>(node);
    if (activation != nullptr && is_clamp(*activation)) chain->activation = activation;
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

std::vector<Module*> consumers_of(Module& model, const Graph& graph, const Chain& chain) {
  std::vector<Module*> ends;
  for (const GraphNode& node : graph.nodes()) {
    if (node.module_path == chain.tail().path()) {
      collect(modules_by_path(model), graph, node.output, ends);
    }
  }
  return ends;
}

std::shared_ptr<FakeQuantize> arriving_codes(Module& model, const Graph& graph,
                                             const std::string& path) {
  const NodesByModule nodes = nodes_by_module(graph);
  const auto own = nodes.find(path);
  if (own == nodes.end() || own->second.size() != 1) return nullptr;
  const auto modules = modules_by_path(model);
  int index = own->second[0];
  while (true) {
    const GraphNode& node = graph.nodes()[index];
    index = node.inputs.empty() ? -1 : graph.producer(node.inputs[0]);
    if (index < 0) return nullptr;
    const GraphNode& before = graph.nodes()[index];
    const auto module = modules.find(before.module_path);
    // A module's transform sees the result of its last operation only.
    if (module != modules.end() && nodes.at(before.module_path).back() == index) {
      auto quantizer =
          std::dynamic_pointer_cast<FakeQuantize>(module->second->output_transform().ptr());
      if (quantizer != nullptr && quantizer->emits_codes()) return quantizer;
    }
    if (!passes_codes(before.op)) return nullptr;
  }
}

}  // namespace halftone
