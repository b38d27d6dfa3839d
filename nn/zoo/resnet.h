// The residual networks for CIFAR (He et al. 2015, section 4.2), shortcut option A.
#pragma once

#include "nn/layers.h"

namespace halftone {

// conv - bn - ReLU - conv - bn, plus the shortcut, ReLU. Where the size changes, the shortcut takes
// every second pixel and adds out/4 zero channels before and out/4 behind.
class BasicBlock : public Module {
 public:
  BasicBlock(const Context& context, int in, int out, int stride);
  std::string type_name() const override { return "BasicBlock"; }
  Variable forward(const std::vector<Variable>& inputs) override;

 private:
  Slot &conv1_, &bn1_, &relu1_, &conv2_, &bn2_, &shortcut_, &add_, &relu2_;
};

}  // namespace halftone
