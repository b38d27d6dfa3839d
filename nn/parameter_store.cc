#include "nn/parameter_store.h"

#include <algorithm>

namespace halftone {
namespace {

constexpr int64_t kAlignment = 16;  // floats: one cache line

int64_t round_up(int64_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

ParameterStore::ParameterStore(Module& model) {
  refresh_paths(model);  // errors of a training say which module
  for (auto& [name, variable] : model.named_parameters())
    entries_.push_back({name, variable, 0, 0});
  lay_out(model.context());
}

void ParameterStore::take_in(Module& model) {
  const size_t before = entries_.size();
  for (auto& [name, variable] : model.named_parameters()) {
    const bool known = std::any_of(entries_.begin(), entries_.end(),
                                   [&v = variable](const Entry& e) { return e.variable.same(v); });
    if (!known) entries_.push_back({name, variable, 0, 0});
  }
  if (entries_.size() > before) lay_out(model.context());
}

void ParameterStore::lay_out(const Context& context) {
  int64_t total = 0;
  for (Entry& e : entries_) {
    e.offset = total;
    e.numel = e.variable.shape().numel();
    total += round_up(e.numel);
  }
  values_ = Tensor::zeros(context, {total});
  grads_ = Tensor::zeros(context, {total});
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
