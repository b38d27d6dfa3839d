// Modules that run one after the other.
#pragma once

#include "nn/module.h"

namespace halftone {

// Children are named "0", "1", ... as in PyTorch, or by name (PyTorch: Sequential(OrderedDict)).
class Sequential : public Module {
 public:
  explicit Sequential(const Context& context, const std::vector<ModulePtr>& modules = {});
  std::string type_name() const override { return "Sequential"; }
  Variable forward(const std::vector<Variable>& inputs) override;
  Sequential& append(ModulePtr module);
  Sequential& append(const std::string& name, ModulePtr module);
};

}  // namespace halftone
