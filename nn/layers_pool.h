// Pooling layers over images (N, H, W, C).
#pragma once

#include "kernels/pool.h"
#include "nn/module.h"

namespace halftone {

class MaxPool2d : public Module {
 public:
  MaxPool2d(const Context& context, const Pool2dOptions& options)
      : Module(context), options_(options) {}
  std::string type_name() const override { return "MaxPool2d"; }
  std::string describe() const override;
  Variable forward(const std::vector<Variable>& inputs) override;
  const Pool2dOptions& options() const { return options_; }
  // An activation computed on the inputs (a fusing pass sets it).
  ActivationOptions fused_activation;

 private:
  Pool2dOptions options_;
};

class AvgPool2d : public Module {
 public:
  AvgPool2d(const Context& context, const Pool2dOptions& options)
      : Module(context), options_(options) {}
  std::string type_name() const override { return "AvgPool2d"; }
  std::string describe() const override;
  Variable forward(const std::vector<Variable>& inputs) override;
  const Pool2dOptions& options() const { return options_; }

 private:
  Pool2dOptions options_;
};

// To an output of out_h x out_w whatever the input.
class AdaptiveAvgPool2d : public Module {
 public:
  AdaptiveAvgPool2d(const Context& context, int out_h, int out_w)
      : Module(context), out_h_(out_h), out_w_(out_w) {}
  std::string type_name() const override { return "AdaptiveAvgPool2d"; }
  std::string describe() const override;
  Variable forward(const std::vector<Variable>& inputs) override;
  int out_h() const { return out_h_; }
  int out_w() const { return out_w_; }

 private:
  int out_h_, out_w_;
};

// A square window that moves by its own size (PyTorch's default stride), or by `stride`.
Pool2dOptions pool_options(int kernel_size, int stride = 0, int padding = 0);

}  // namespace halftone
