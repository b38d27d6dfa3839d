#include <atomic>

#include "autograd/anomaly.h"
#include "autograd/engine.h"
#include "autograd/graph.h"
#include "autograd/variable_impl.h"

namespace halftone {
namespace {

thread_local bool t_grad_enabled = true;

// Only an order: no result depends on where it starts.
uint64_t next_sequence() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

bool any_requires_grad(const std::vector<Variable>& inputs) {
  for (const Variable& v : inputs) {
    if (v.defined() && v.requires_grad()) return true;
  }
  return false;
}

}  // namespace

bool grad_enabled() { return t_grad_enabled; }
NoGrad::NoGrad() : previous_(t_grad_enabled) { t_grad_enabled = false; }
NoGrad::~NoGrad() { t_grad_enabled = previous_; }

GradEdge Engine::edge_to(const Variable& v) {
  GradEdge edge;
  if (!v.defined() || !v.requires_grad()) return edge;
  edge.producer = v.node();
  if (edge.producer == nullptr) edge.leaf = v;
  edge.shape = v.shape();
  return edge;
}

void Engine::attach_node(OpRecord& record, Variable& result) {
  auto node = std::make_shared<Node>();
  node->inputs.reserve(record.inputs.size());
  for (const Variable& v : record.inputs) node->inputs.push_back(edge_to(v));
  node->op = std::move(record.op);
  node->backward = std::move(record.backward);
  node->module_path = ErrorScope::current();
  node->sequence = next_sequence();
  result.impl_->node = std::move(node);
  result.impl_->requires_grad = true;
}

Variable Engine::finish(OpRecord& record, Variable result) {
  if (DetectNonFinite::active()) check_forward(record, result);
  if (GraphRecorder* recorder = GraphRecorder::current()) {
    recorder->record(record.op, record.inputs, result);
  }
  if (record.backward && t_grad_enabled && any_requires_grad(record.inputs)) {
    attach_node(record, result);
  }
  return result;
}

Variable make_result(OpRecord record, Tensor value) {
  return Engine::finish(record, Variable(std::move(value)));
}

Variable make_result(OpRecord record, Codes codes) {
  return Engine::finish(record, Variable(std::move(codes)));
}

}  // namespace halftone
