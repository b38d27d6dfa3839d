#include "nn/fuse.h"

#include <algorithm>

namespace halftone {
namespace {

bool is_clamp(Activation kind) {
  return kind == Activation::kReLU || kind == Activation::kReLU6 || kind == Activation::kHardtanh;
}

bool runs_once(const Graph& graph, const std::string& path) {
  const auto& nodes = graph.nodes();
  return std::count_if(nodes.begin(), nodes.end(),
                       [&](const GraphNode& n) { return n.module_path == path; }) == 1;
}

// The node that alone reads this node's value; null when others do, or the network returns it.
const GraphNode* only_consumer(const Graph& graph, const GraphNode& node) {
  const std::vector<int> consumers = graph.consumers(node.output);
  if (consumers.size() != 1 || graph.output() == node.output) return nullptr;
  return &graph.nodes()[consumers[0]];
}

template <class M>
M* free_module(Module& model, const Graph& graph, const std::string& path) {
  M* module = dynamic_cast<M*>(model.find(path));
  return module && !module->has_executor() && runs_once(graph, path) ? module : nullptr;
}

}  // namespace

FusedActivations fuse_batch_norm_activations(Module& model, const Graph& graph) {
  if (graph.version() != model.tree_version()) {
    throw HALFTONE_ERROR("fuse")
        .what_happened("the model has changed since its graph was traced")
        .fix("trace it again");
  }
  FusedActivations fused;
  for (const GraphNode& node : graph.nodes()) {
    auto* norm = free_module<BatchNorm>(model, graph, node.module_path);
    if (!norm || norm->output_transform()) continue;
    const GraphNode* next = only_consumer(graph, node);
    if (!next) continue;
    auto* layer = free_module<ActivationLayer>(model, graph, next->module_path);
    if (!layer || !is_clamp(layer->options().kind)) continue;
    norm->fused_activation = layer->options();
    layer->set_executor([](Module&, const std::vector<Variable>& inputs) { return inputs.at(0); });
    fused.pairs_.emplace_back(norm, layer);
  }
  return fused;
}

void FusedActivations::unfuse() {
  for (auto& [norm, layer] : pairs_) {
    norm->fused_activation = ActivationOptions();
    layer->set_executor(nullptr);
  }
  pairs_.clear();
}

}  // namespace halftone
