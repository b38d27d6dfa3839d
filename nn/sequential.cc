#include "nn/sequential.h"

#include "nn/input_check.h"

namespace halftone {

Sequential::Sequential(const Context& context, const std::vector<ModulePtr>& modules)
    : Module(context) {
  for (const ModulePtr& module : modules) append(module);
}

Variable Sequential::forward(const std::vector<Variable>& inputs) {
  Variable x = only_input("sequential", inputs);
  for (Slot& child : children()) x = child(x);
  return x;
}

Sequential& Sequential::append(ModulePtr module) {
  return append(std::to_string(children().size()), std::move(module));
}

Sequential& Sequential::append(const std::string& name, ModulePtr module) {
  register_child(name, std::move(module));
  return *this;
}

}  // namespace halftone
