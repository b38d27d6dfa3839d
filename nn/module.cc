#include "nn/module.h"

#include <atomic>

namespace halftone {
namespace {

// Version numbers only ever grow, so the largest of a tree changes with every change below it.
std::atomic<uint64_t> last_version{0};
uint64_t next_version() { return ++last_version; }

std::atomic<uint64_t> last_call{0};
thread_local uint64_t t_call = 0;
thread_local int t_depth = 0;

struct CallScope {
  CallScope() {
    if (t_depth++ == 0) t_call = ++last_call;
  }
  ~CallScope() { --t_depth; }
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;
};

void check_name(const Module& owner, const std::string& name, bool taken) {
  if (name.empty() || name.find('.') != std::string::npos) {
    throw HALFTONE_ERROR("module")
        .expected("a name without dots in " + owner.type_name())
        .found("\"" + name + "\"");
  }
  if (taken) {
    throw HALFTONE_ERROR("module").what_happened("the name \"" + name + "\" is taken in " +
                                                 owner.type_name());
  }
}

template <class Range, class NameOf>
bool contains(const Range& range, const std::string& name, NameOf name_of) {
  for (const auto& item : range) {
    if (name_of(item) == name) return true;
  }
  return false;
}

}  // namespace

uint64_t Module::newest_version() { return last_version; }

uint64_t Module::call_number() { return t_call; }

void Slot::set(ModulePtr module) {
  module_ = std::move(module);
  owner_->version_ = next_version();
}

void Slot::set(std::string name, ModulePtr module) {
  name_ = std::move(name);
  set(std::move(module));
}

Variable Slot::operator()(const Variable& x) const { return module_ ? (*module_)(x) : x; }

Variable Module::run(const std::vector<Variable>& inputs) {
  if (scope_.empty()) scope_ = "(" + summary() + ")";
  ErrorScope scope(scope_);  // refers to scope_: no copy
  const CallScope call;
  if (GraphRecorder* recorder = GraphRecorder::current()) recorder->begin_call(path_);
  return output_(executor_ ? executor_(*this, inputs) : forward(inputs));
}

void Module::train(bool on) {
  for (auto& [name, module] : named_modules()) module->training_ = on;
}

void Module::register_parameter(const std::string& name, Variable& member, Tensor value,
                                DiskLayout layout) {
  check_name(*this, name, contains(parameters_, name, [](const auto& p) { return p.name; }));
  member = Variable(std::move(value), true);
  parameters_.push_back({name, &member, layout});
}

Tensor& Module::register_buffer(const std::string& name, Tensor value) {
  check_name(*this, name, contains(buffers_, name, [](const auto& b) { return b.first; }));
  return buffers_.emplace_back(name, std::move(value)).second;
}

Slot& Module::register_child(const std::string& name, ModulePtr module) {
  check_name(*this, name, contains(children_, name, [](const Slot& s) { return s.name(); }));
  Slot& slot = children_.emplace_back(this, name);
  slot.set(std::move(module));
  return slot;
}

Slot& Module::register_transform(const std::string& name) {
  check_name(*this, name, contains(transforms_, name, [](const Slot& s) { return s.name(); }));
  return transforms_.emplace_back(this, name);
}

std::vector<Slot*> Module::slots() {
  std::vector<Slot*> all;
  for (Slot& slot : children_) all.push_back(&slot);
  for (Slot& slot : transforms_) all.push_back(&slot);
  all.push_back(&output_);
  return all;
}

}  // namespace halftone
