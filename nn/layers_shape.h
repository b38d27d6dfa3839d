// Layers without arithmetic of their own weight: they join, move or drop values.
#pragma once

#include "kernels/activation.h"
#include "nn/module.h"

namespace halftone {

// (N, H, W, C) -> (N, C*H*W), in PyTorch's (C, H, W) order.
class Flatten : public Module {
 public:
  using Module::Module;
  std::string type_name() const override { return "Flatten"; }
  std::string describe() const override { return "start_dim=1, end_dim=-1"; }
  Variable forward(const std::vector<Variable>& inputs) override;
};

class Identity : public Module {
 public:
  using Module::Module;
  std::string type_name() const override { return "Identity"; }
  Variable forward(const std::vector<Variable>& inputs) override;
};

class Dropout : public Module {
 public:
  explicit Dropout(const Context& context, float p = 0.5f);
  std::string type_name() const override { return "Dropout"; }
  std::string describe() const override;
  Variable forward(const std::vector<Variable>& inputs) override;
  float p() const { return p_; }

 private:
  float p_;
};

// The sum of two inputs of one shape.
class Add : public Module {
 public:
  using Module::Module;
  std::string type_name() const override { return "Add"; }
  Variable forward(const std::vector<Variable>& inputs) override;
  // An activation computed with the sum (a fusing pass sets it).
  ActivationOptions fused_activation;
};

// Any number of inputs, joined along the channels.
class Concat : public Module {
 public:
  using Module::Module;
  std::string type_name() const override { return "Concat"; }
  std::string describe() const override { return "dim=1"; }
  Variable forward(const std::vector<Variable>& inputs) override;
};

struct SubsamplePadArgs {
  int stride = 2;
  int pad_before = 0, pad_after = 0;  // zero channels
};

// Every stride-th pixel, with zero channels added: the shortcut of ResNet's option A
// (He et al. 2015, section 4.2).
class SubsamplePad : public Module {
 public:
  SubsamplePad(const Context& context, const SubsamplePadArgs& args)
      : Module(context), args_(args) {}
  std::string type_name() const override { return "SubsamplePad"; }
  std::string describe() const override;
  Variable forward(const std::vector<Variable>& inputs) override;
  const SubsamplePadArgs& args() const { return args_; }

 private:
  SubsamplePadArgs args_;
};

}  // namespace halftone
