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

// Where a module computes an activation for its neighbour; null when it cannot.
ActivationOptions* before_next(Module& model, const Graph& graph, const GraphNode& node) {
  auto* norm = free_module<BatchNorm>(model, graph, node.module_path);
  if (norm && !norm->output_transform()) return &norm->fused_activation;
  auto* add = free_module<Add>(model, graph, node.module_path);
  return add && !add->output_transform() ? &add->fused_activation : nullptr;
}

ActivationOptions* in_pooling(Module& model, const Graph& graph, const GraphNode& node) {
  auto* pool = free_module<MaxPool2d>(model, graph, node.module_path);
  return pool ? &pool->fused_activation : nullptr;
}

}  // namespace

FusedActivations fuse_activations(Module& model, const Graph& graph) {
  if (graph.version() != model.tree_version()) {
    throw HALFTONE_ERROR("fuse")
        .what_happened("the model has changed since its graph was traced")
        .fix("trace it again");
  }
  FusedActivations fused;
  for (const GraphNode& node : graph.nodes()) {
    auto* layer = free_module<ActivationLayer>(model, graph, node.module_path);
    if (!layer || !is_clamp(layer->options().kind)) continue;
    ActivationOptions* home = nullptr;
    const int producer = node.inputs.empty() ? -1 : graph.producer(node.inputs[0]);
    if (producer >= 0 && only_consumer(graph, graph.nodes()[producer])) {
      home = before_next(model, graph, graph.nodes()[producer]);
    }
    const GraphNode* next = only_consumer(graph, node);
    if (!home && next && !layer->output_transform()) home = in_pooling(model, graph, *next);
    if (!home) continue;
    *home = layer->options();
    layer->set_executor([](Module&, const std::vector<Variable>& inputs) { return inputs.at(0); });
    fused.pairs_.emplace_back(home, layer);
  }
  return fused;
}

void FusedActivations::unfuse() {
  for (auto& [home, layer] : pairs_) {
    *home = ActivationOptions();
    layer->set_executor(nullptr);
  }
  pairs_.clear();
}

}  // namespace halftone
