#include "nn/parameter_store.h"

namespace halftone {
namespace {

constexpr int64_t kAlignment = 16;  // floats: one cache line

int64_t round_up(int64_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

ParameterStore::ParameterStore(Module& model) {
  int64_t total = 0;
  for (auto& [name, variable] : model.named_parameters()) {
    const int64_t numel = variable.shape().numel();
    entries_.push_back({name, variable, total, numel});
    total += round_up(numel);
  }
  values_ = Tensor::zeros(model.context(), {total});
  grads_ = Tensor::zeros(model.context(), {total});
  for (Entry& e : entries_) {
    const Shape shape = e.variable.shape();
    Tensor place = values_.slice(e.offset, e.offset + e.numel).reshape(shape);
    place.copy_from(e.variable.value());
    e.variable.mutable_value() = place;
    e.variable.set_grad_buffer(grads_.slice(e.offset, e.offset + e.numel).reshape(shape));
  }
}

void ParameterStore::zero_grad() {
  for (Entry& e : entries_) e.variable.zero_grad();
}

}  // namespace halftone
