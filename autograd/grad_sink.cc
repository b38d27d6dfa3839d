#include "autograd/anomaly.h"
#include "autograd/engine.h"

namespace halftone {
namespace {

[[noreturn]] void throw_wrong_gradient(size_t i, const Tensor& gradient, const Shape& wanted) {
  throw HALFTONE_ERROR("backward")
      .what_happened("gradient of input " + std::to_string(i))
      .expected("float32 " + wanted.str())
      .found(gradient.defined() ? name_of(gradient.dtype()) + " " + gradient.shape().str()
                                : "an undefined tensor");
}

}  // namespace

bool GradSink::needs(size_t i) const { return i < slots_->size() && (*slots_)[i].edge->wanted(); }

Tensor& GradSink::out(size_t i) {
  if (!needs(i)) {
    throw HALFTONE_ERROR("backward")
        .what_happened("input " + std::to_string(i) + " wants no gradient")
        .fix("ask needs() first");
  }
  Slot& slot = (*slots_)[i];
  if (slot.out.defined()) return slot.out;
  slot.out = Engine::claim_buffer(*slot.edge);
  slot.direct = slot.out.defined();
  if (!slot.direct) slot.out = Tensor::empty(upstream_->context(), slot.edge->shape);
  return slot.out;
}

Tensor* GradSink::sum(size_t i) {
  if (!needs(i)) return nullptr;
  Slot& slot = (*slots_)[i];
  Node* producer = slot.edge->producer.get();
  if (producer == nullptr || !producer->gradient.unique()) return nullptr;
  slot.out = std::move(producer->gradient);
  producer->gradient = Tensor();
  return &slot.out;
}

void GradSink::put(size_t i, Tensor gradient) {
  if (!needs(i)) return;
  GradEdge& edge = *(*slots_)[i].edge;
  if (!gradient.defined() || gradient.dtype() != DType::kFloat32 ||
      gradient.shape() != edge.shape) {
    throw_wrong_gradient(i, gradient, edge.shape);
  }
  if (DetectNonFinite::active()) {
    check_gradient(node_->op, "gradient of input " + std::to_string(i), gradient);
  }
  Engine::deliver(edge, std::move(gradient));
}

}  // namespace halftone
