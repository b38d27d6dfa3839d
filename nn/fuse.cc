#include "nn/fuse.h"

namespace halftone {
namespace {

template <class M>
M* free_module(Module& model, const Graph& graph, const std::string& path) {
  M* module = dynamic_cast<M*>(model.find(path));
  return module && !module->has_executor() && graph.only_node(path) >= 0 ? module : nullptr;
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
    if (producer >= 0 && graph.only_consumer(producer) >= 0) {
      home = before_next(model, graph, graph.nodes()[producer]);
    }
    const int next = graph.only_consumer(graph.only_node(node.module_path));
    if (!home && next >= 0 && !layer->output_transform()) {
      home = in_pooling(model, graph, graph.nodes()[next]);
    }
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
