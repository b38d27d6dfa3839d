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

Variable pass_through(Module&, const std::vector<Variable>& inputs) { return inputs.at(0); }

// Runs for an Add whose input `at` is what the norm would normalise.
Executor summing(BatchNorm* norm, size_t at) {
  return [norm, at](Module& self, const std::vector<Variable>& inputs) {
    if (inputs.size() != 2 || inputs[0].shape() != inputs[1].shape()) return self.forward(inputs);
    return norm->forward_sum(inputs[at], inputs[1 - at], dynamic_cast<Add&>(self).fused_activation);
  };
}

}  // namespace

void FusedLayers::fuse_activations(Module& model, const Graph& graph) {
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
    layer->set_executor(pass_through);
    pairs_.emplace_back(home, layer);
  }
}

void FusedLayers::fuse_sums(Module& model, const Graph& graph) {
  for (const GraphNode& node : graph.nodes()) {
    auto* norm = free_module<BatchNorm>(model, graph, node.module_path);
    const int consumer = norm ? graph.only_consumer(graph.producer(node.output)) : -1;
    if (consumer < 0 || norm->output_transform() ||
        norm->fused_activation.kind != Activation::kIdentity) {
      continue;
    }
    const GraphNode& sum = graph.nodes()[consumer];
    auto* add = free_module<Add>(model, graph, sum.module_path);
    if (!add || sum.inputs.size() != 2 || sum.inputs[0] == sum.inputs[1]) continue;
    norm->set_executor(pass_through);
    add->set_executor(summing(norm, sum.inputs[0] == node.output ? 0 : 1));
    sums_.emplace_back(norm, add);
  }
}

FusedLayers fuse_layers(Module& model, const Graph& graph) {
  if (graph.version() != model.tree_version()) {
    throw HALFTONE_ERROR("fuse")
        .what_happened("the model has changed since its graph was traced")
        .fix("trace it again");
  }
  FusedLayers fused;
  fused.fuse_activations(model, graph);
  fused.fuse_sums(model, graph);  // takes the sums' activations along
  return fused;
}

void FusedLayers::unfuse() {
  for (auto& [home, layer] : pairs_) {
    *home = ActivationOptions();
    layer->set_executor(nullptr);
  }
  for (auto& [norm, add] : sums_) {
    norm->set_executor(nullptr);
    add->set_executor(nullptr);
  }
  pairs_.clear();
  sums_.clear();
}

}  // namespace halftone
