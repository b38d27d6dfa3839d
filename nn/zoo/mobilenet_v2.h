// MobileNetV2's block (Sandler et al. 2018, table 1).
#pragma once

#include "nn/layers.h"

namespace halftone {

struct InvertedResidualArgs {
  int in, out, stride, expand;
};

// 1x1 expansion - 3x3 depthwise - 1x1 projection without activation; added to the input when shapes
// agree.
class InvertedResidual : public Module {
 public:
  InvertedResidual(const Context& context, const InvertedResidualArgs& args);
  std::string type_name() const override { return "InvertedResidual"; }
  Variable forward(const std::vector<Variable>& inputs) override;

 private:
  Slot& conv_;
  Slot* add_ = nullptr;  // null without a shortcut
};

}  // namespace halftone
