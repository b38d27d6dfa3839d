#include "autograd/engine.h"

#include <algorithm>
#include <atomic>

#include "autograd/anomaly.h"
#include "kernels/elementwise.h"

namespace halftone {
namespace {

using NodeList = std::vector<std::shared_ptr<Node>>;

// Drops what the node saved and where it led to.
void free_node(Node& node) {
  node.backward = nullptr;
  node.gradient = Tensor();
  std::vector<GradEdge>().swap(node.inputs);
  node.freed = true;
}

[[noreturn]] void throw_freed(const Node& node) {
  const ErrorScope scope(node.module_path);
  throw HALFTONE_ERROR("backward")
      .what_happened("an earlier backward has freed this graph (at " + node.op + ")")
      .fix("run the forward again, or add the losses and call backward once");
}

// The nodes behind the root in the order in which they run. Throws before anything runs.
NodeList reachable(const std::shared_ptr<Node>& root) {
  static std::atomic<uint64_t> passes{1};
  const uint64_t pass = passes.fetch_add(1, std::memory_order_relaxed);
  NodeList nodes{root};
  root->visit = pass;
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i]->freed) throw_freed(*nodes[i]);
    const Node* node = nodes[i].get();
    for (const GradEdge& edge : node->inputs) {
      if (edge.producer == nullptr || edge.producer->visit == pass) continue;
      edge.producer->visit = pass;
      nodes.push_back(edge.producer);
    }
  }
  std::sort(nodes.begin(), nodes.end(),
            [](const auto& a, const auto& b) { return a->sequence > b->sequence; });
  return nodes;
}

// Frees every node that is left, also when a closure throws.
class FreeOnExit {
 public:
  explicit FreeOnExit(NodeList& nodes) : nodes_(nodes) {}
  ~FreeOnExit() {
    for (auto& node : nodes_) {
      if (node != nullptr) free_node(*node);
    }
  }

 private:
  NodeList& nodes_;
};

Tensor checked_upstream(const Variable& root, Tensor upstream) {
  if (!root.requires_grad()) {
    throw HALFTONE_ERROR("backward")
        .expected("a value that depends on a parameter")
        .found("one that requires no gradient")
        .fix("NoGrad may be alive, or no input requires a gradient");
  }
  const std::string shape = root.shape().str();
  if (!upstream.defined()) {
    if (root.shape().numel() == 1) return Tensor::full(root.context(), root.shape(), 1.0f);
    throw HALFTONE_ERROR("backward")
        .expected("a scalar")
        .found(shape)
        .fix("pass the upstream gradient");
  }
  if (upstream.dtype() != DType::kFloat32 || upstream.shape() != root.shape()) {
    throw HALFTONE_ERROR("backward")
        .expected("an upstream gradient float32 " + shape)
        .found(name_of(upstream.dtype()) + " " + upstream.shape().str());
  }
  return upstream;
}

// sum += gradient, in whichever of the two nobody else can see; addition commutes bit for bit.
void add_to(Tensor& sum, Tensor gradient) {
  if (sum.unique()) {
    kernels::accumulate(gradient, sum);
  } else if (gradient.unique()) {
    kernels::accumulate(sum, gradient);
    sum = std::move(gradient);
  } else {
    Tensor fresh = Tensor::empty(sum.context(), sum.shape());
    kernels::add(sum, gradient, fresh);
    sum = std::move(fresh);
  }
}

}  // namespace

void Engine::deliver_to_leaf(Variable::Impl& leaf, Tensor gradient) {
  if (leaf.has_buffer) {
    if (leaf.has_grad) {
      kernels::accumulate(gradient, leaf.grad);
    } else {
      leaf.grad.copy_from(gradient);
    }
  } else if (leaf.has_grad) {
    add_to(leaf.grad, std::move(gradient));
  } else {
    leaf.grad = std::move(gradient);
  }
  leaf.has_grad = true;
}

void Engine::deliver(GradEdge& edge, Tensor gradient) {
  if (edge.producer == nullptr) {
    deliver_to_leaf(*edge.leaf.impl_, std::move(gradient));
  } else if (edge.producer->gradient.defined()) {
    add_to(edge.producer->gradient, std::move(gradient));
  } else {
    edge.producer->gradient = std::move(gradient);
  }
}

Tensor Engine::claim_buffer(const GradEdge& edge) {
  if (edge.producer != nullptr) return Tensor();
  Variable::Impl& leaf = *edge.leaf.impl_;
  if (!leaf.has_buffer || leaf.has_grad) return Tensor();
  leaf.has_grad = true;
  return leaf.grad;
}

void Engine::deliver_outs(const Node& node, std::vector<GradSink::Slot>& slots) {
  for (size_t i = 0; i < slots.size(); ++i) {
    GradSink::Slot& slot = slots[i];
    if (!slot.out.defined()) continue;
    if (DetectNonFinite::active()) {
      check_gradient(node.op, "gradient of input " + std::to_string(i), slot.out);
    }
    if (!slot.direct) deliver(*slot.edge, std::move(slot.out));
  }
}

void Engine::run_closure(Node& node, std::vector<GradSink::Slot>& slots, const Tensor& upstream) {
  slots.clear();
  for (GradEdge& edge : node.inputs) slots.push_back({&edge, Tensor(), false});
  GradSink sink;
  sink.slots_ = &slots;
  sink.upstream_ = &upstream;
  sink.node_ = &node;
  node.backward(upstream, sink);
}

void Engine::run_node(Node& node, std::vector<GradSink::Slot>& slots) {
  if (!node.gradient.defined()) return;  // no consumer sent anything: zero
  const ErrorScope scope(node.module_path);
  Tensor upstream = std::move(node.gradient);
  if (DetectNonFinite::active()) check_gradient(node.op, "gradient of its output", upstream);
  run_closure(node, slots, upstream);
  node.backward = nullptr;
  upstream = Tensor();
  deliver_outs(node, slots);
  slots.clear();
}

void Engine::backward(const Variable& root, Tensor upstream) {
  upstream = checked_upstream(root, std::move(upstream));
  if (root.node() == nullptr) {
    deliver_to_leaf(root.impl(), std::move(upstream));
    return;
  }
  NodeList nodes = reachable(root.node());
  const FreeOnExit guard(nodes);
  root.node()->gradient = std::move(upstream);
  std::vector<GradSink::Slot> slots;
  for (auto& node : nodes) {
    run_node(*node, slots);
    free_node(*node);
    node.reset();
  }
}

}  // namespace halftone
