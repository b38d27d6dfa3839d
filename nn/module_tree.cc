#include <algorithm>
#include <set>

#include "nn/module.h"

namespace halftone {
namespace {

std::string join(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : prefix + "." + name;
}

void visit(const std::string& name, Module& module, std::set<Module*>& seen,
           std::vector<std::pair<std::string, Module*>>& out) {
  if (!seen.insert(&module).second) return;
  out.emplace_back(name, &module);
  for (Slot* slot : module.slots()) {
    if (*slot) visit(join(name, slot->name()), *slot->get(), seen, out);
  }
}

std::string indented(const std::string& text) {
  std::string result;
  for (char c : text) {
    result += c;
    if (c == '\n') result += "  ";
  }
  return result;
}

}  // namespace

std::vector<std::pair<std::string, Module*>> Module::named_modules() {
  std::set<Module*> seen;
  std::vector<std::pair<std::string, Module*>> modules;
  visit("", *this, seen, modules);
  return modules;
}

std::vector<std::pair<std::string, Variable>> Module::named_parameters() {
  std::set<const void*> seen;
  std::vector<std::pair<std::string, Variable>> result;
  for (auto& [path, module] : named_modules()) {
    for (const NamedParameter& p : module->parameters_) {
      if (seen.insert(p.variable->id()).second)
        result.emplace_back(join(path, p.name), *p.variable);
    }
  }
  return result;
}

std::vector<std::pair<std::string, Tensor*>> Module::named_buffers() {
  std::vector<std::pair<std::string, Tensor*>> result;
  for (auto& [path, module] : named_modules()) {
    for (auto& [name, tensor] : module->buffers_) result.emplace_back(join(path, name), &tensor);
  }
  return result;
}

Module* Module::find(const std::string& path) {
  if (path.empty()) return this;
  const size_t dot = path.find('.');
  for (Slot* slot : slots()) {
    if (!*slot || slot->name() != path.substr(0, dot)) continue;
    return dot == std::string::npos ? slot->get() : (*slot)->find(path.substr(dot + 1));
  }
  return nullptr;
}

uint64_t Module::tree_version() {
  uint64_t newest = 0;
  for (auto& [path, module] : named_modules()) newest = std::max(newest, module->version_);
  return newest;
}

void refresh_paths(Module& root) {
  for (auto& [path, module] : root.named_modules()) {
    module->path_ = path;
    module->scope_ = (path.empty() ? "(" : path + " (") + module->summary() + ")";
  }
}

EvaluationMode::EvaluationMode(Module& model) {
  for (auto& [name, module] : model.named_modules())
    before_.emplace_back(module, module->training());
  // Every parent before its children, also of a module that several share: it holds more modules.
  std::stable_sort(before_.begin(), before_.end(), [](const auto& a, const auto& b) {
    return a.first->named_modules().size() > b.first->named_modules().size();
  });
  model.eval();
}

EvaluationMode::~EvaluationMode() {
  for (auto& [module, training] : before_) module->train(training);
}

std::string to_string(Module& root) {
  std::string body;
  for (Slot* slot : root.slots()) {
    if (*slot) body += "\n  (" + slot->name() + "): " + indented(to_string(*slot->get()));
  }
  const std::string head = root.type_name() + "(" + root.describe();
  return head + body + (body.empty() ? ")" : "\n)");
}

}  // namespace halftone
