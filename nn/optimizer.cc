#include "nn/optimizer.h"

#include <algorithm>

#include "tensor/nearest.h"

namespace halftone {
namespace {

bool matches(const char* pattern, const char* name) {
  if (*pattern == '\0') return *name == '\0';
  if (*pattern == '*') {
    return matches(pattern + 1, name) || (*name != '\0' && matches(pattern, name + 1));
  }
  return *name != '\0' && (*pattern == '?' || *pattern == *name) && matches(pattern + 1, name + 1);
}

void check_rates(const ParameterGroup& g) {
  if (g.lr >= 0.0 && g.weight_decay >= 0.0) return;
  throw HALFTONE_ERROR("optimizer")
      .expected("lr >= 0 and weight_decay >= 0 for \"" + g.pattern + "\"")
      .found(std::to_string(g.lr) + " and " + std::to_string(g.weight_decay));
}

std::vector<ParameterGroup> make_groups(const OptimizerOptions& options, double weight_decay) {
  std::vector<ParameterGroup> groups;
  for (const ParameterGroupOptions& g : options.groups) {
    const double lr = g.lr.value_or(options.lr);
    groups.push_back({g.pattern, lr, lr, g.weight_decay.value_or(weight_decay)});
  }
  groups.push_back({"*", options.lr, options.lr, weight_decay});
  for (const ParameterGroup& g : groups) check_rates(g);
  return groups;
}

int find_group(const std::vector<ParameterGroup>& groups, const std::string& name) {
  int i = 0;
  while (!matches(groups[i].pattern.c_str(), name.c_str())) ++i;  // the last one is "*"
  return i;
}

// A pattern that no parameter matches is a mistake, never a wish.
void check_all_used(const std::vector<ParameterGroup>& groups, const std::vector<int>& group_of) {
  for (size_t g = 0; g + 1 < groups.size(); ++g) {
    bool used = false;
    for (int i : group_of) used = used || i == static_cast<int>(g);
    if (!used) {
      throw HALFTONE_ERROR("optimizer")
          .at("groups[" + std::to_string(g) + "]")
          .expected("parameters that match \"" + groups[g].pattern + "\"")
          .found("none that an earlier group has not taken");
    }
  }
}

void check_state(const std::string& name, const std::map<std::string, Tensor>& state,
                 const Shape& shape, DType dtype) {
  const auto found = state.find(name);
  if (found != state.end() && found->second.shape() == shape && found->second.dtype() == dtype) {
    return;
  }
  throw HALFTONE_ERROR("optimizer")
      .at(name)
      .expected(name_of(dtype) + " " + shape.str())
      .found(found == state.end()
                 ? "nothing"
                 : name_of(found->second.dtype()) + " " + found->second.shape().str())
      .fix("resume with the optimizer and the model of the checkpoint");
}

}  // namespace

Optimizer::Optimizer(ParameterStore& store, const OptimizerOptions& options, double weight_decay,
                     std::vector<std::string> buffer_names)
    : store_(store),
      groups_(make_groups(options, weight_decay)),
      steps_(store.entries().size(), 0),
      buffer_names_(std::move(buffer_names)) {
  assign_groups();
  const Tensor& values = store.values();
  for (size_t i = 0; i < buffer_names_.size(); ++i) {
    buffers_.push_back(Tensor::zeros(values.context(), values.shape()));
  }
}

void Optimizer::assign_groups() {
  group_of_.clear();
  for (const auto& entry : store_.entries()) group_of_.push_back(find_group(groups_, entry.name));
  check_all_used(groups_, group_of_);
}

void Optimizer::take_in(Module& model) {
  store_.take_in(model);
  steps_.resize(store_.entries().size(), 0);
  for (Tensor& old : buffers_) {
    Tensor longer = Tensor::zeros(old.context(), store_.values().shape());
    longer.slice(0, old.numel()).copy_from(old);
    old = longer;
  }
  assign_groups();
  if (!store_.values().on_host()) lay_out_on_device(store_);
}

void Optimizer::add_group(const ParameterGroupOptions& group) {
  const std::vector<ParameterGroup> before = groups_;
  const ParameterGroup& rest = before.back();
  const double lr = group.lr.value_or(rest.base_lr);
  groups_.insert(groups_.begin(),
                 {group.pattern, lr, lr, group.weight_decay.value_or(rest.weight_decay)});
  try {
    check_rates(groups_.front());
    assign_groups();
  } catch (...) {
    groups_ = before;
    assign_groups();
    throw;
  }
}

void Optimizer::check_home(const ParameterStore::Entry& entry) const {
  const auto* home = static_cast<const float*>(store_.values().raw()) + entry.offset;
  if (entry.variable.value().raw() == home) return;
  throw HALFTONE_ERROR("optimizer")
      .at(entry.name)
      .what_happened("this parameter has moved out of the optimizer's ParameterStore")
      .fix("make one ParameterStore for a model, and its optimizer from that");
}

void Optimizer::step() {
  const std::vector<bool> now = updated();
  advance(now);
  if (!store_.values().on_host()) return launch(nullptr);
  update_ranges(now);
  for (const Hook& hook : hooks_) hook.whole();
}

std::vector<bool> Optimizer::updated() const {
  std::vector<bool> out;
  for (const auto& entry : store_.entries()) out.push_back(entry.variable.grad().defined());
  return out;
}

Optimizer::Range Optimizer::range_of(size_t entry) const {
  const auto& entries = store_.entries();
  const bool last = entry + 1 == entries.size();
  const int64_t end = last ? store_.values().numel() : entries[entry + 1].offset;
  return {&groups_[group_of_[entry]], entries[entry].offset, end, steps_[entry]};
}

void Optimizer::advance(const std::vector<bool>& updated) {
  for (const auto& entry : store_.entries()) check_home(entry);
  for (size_t i = 0; i < updated.size(); ++i) steps_[i] += updated[i];
  if (store_.values().on_host()) return;
  std::vector<Range> parameters;
  for (size_t i = 0; i < updated.size(); ++i) {
    parameters.push_back(range_of(i));
    if (!updated[i]) parameters.back().group = nullptr;
  }
  put_on_device(parameters);
}

void Optimizer::launch(const Tensor* loss) {
  const void* checked = loss != nullptr ? loss->raw() : nullptr;
  update_on_device(static_cast<const float*>(checked), store_, buffers_);
  for (const Hook& hook : hooks_) hook.whole();
}

void Optimizer::replayed() {
  for (const Hook& hook : hooks_) {
    if (hook.host_part) hook.host_part();
  }
}

// Neighbours of the same group and age go together.
void Optimizer::update_ranges(const std::vector<bool>& updated) {
  Range range{nullptr, 0, 0, 0};
  for (size_t i = 0; i < updated.size(); ++i) {
    if (!updated[i]) continue;
    const Range next = range_of(i);
    if (range.group == next.group && range.step == next.step && range.end == next.begin) {
      range.end = next.end;
      continue;
    }
    update_range(range);
    range = next;
  }
  update_range(range);
}

void Optimizer::update_range(const Range& range) {
  if (range.group == nullptr) return;
  Tensor value = store_.values().slice(range.begin, range.end);
  std::vector<Tensor> buffers;
  for (Tensor& b : buffers_) buffers.push_back(b.slice(range.begin, range.end));
  update(range, store_.grads().slice(range.begin, range.end), value, buffers);
}

void Optimizer::schedule(const Schedule& schedule, int64_t t) {
  for (ParameterGroup& g : groups_) g.lr = schedule(g.base_lr, t);
}

std::map<std::string, Tensor> Optimizer::state_dict() const {
  std::map<std::string, Tensor> state;
  const Context host = store_.values().context().host();
  state["steps"] = Tensor::from<int64_t>(host, {static_cast<int64_t>(steps_.size())}, steps_);
  for (size_t i = 0; i < buffers_.size(); ++i) {
    const Tensor& b = buffers_[i];
    state[buffer_names_[i]] = b.context() == host ? b.clone() : b.to(host);
  }
  return state;
}

void Optimizer::load_state_dict(const std::map<std::string, Tensor>& state) {
  const Shape counts{static_cast<int64_t>(steps_.size())};
  check_state("steps", state, counts, DType::kInt64);
  for (const std::string& name : buffer_names_) {
    check_state(name, state, store_.values().shape(), DType::kFloat32);
  }
  for (const auto& [name, tensor] : state) {
    if (name == "steps" || std::count(buffer_names_.begin(), buffer_names_.end(), name) > 0)
      continue;
    throw HALFTONE_ERROR("optimizer").at(name).what_happened("this optimizer has no such state");
  }
  steps_ = state.at("steps").to_vector<int64_t>();
  for (size_t i = 0; i < buffers_.size(); ++i) buffers_[i].copy_from(state.at(buffer_names_[i]));
}

}  // namespace halftone
