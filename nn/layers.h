// The layers. Names, arguments, defaults and initialisation are PyTorch's (torch.nn).
#pragma once

#include "autograd/ops.h"
#include "nn/layers_pool.h"
#include "nn/layers_shape.h"
#include "nn/module.h"
#include "nn/sequential.h"

namespace halftone {

struct Conv2dArgs {
  int in_channels = 0, out_channels = 0;
  int kernel_size = 3;
  int stride = 1, padding = 0, dilation = 1, groups = 1;
  bool bias = true;
  int kernel_w = 0;  // positive: the kernel's width, where it is not square
};

// What Conv2d and Linear have in common: a weight, whose first axis is the output channel, and
// slots for what transforms input, weight and bias before they meet, and the gradient that comes
// back to the result.
class WeightLayer : public Module {
 public:
  explicit WeightLayer(const Context& context);
  Variable weight, bias;  // bias (O), undefined without one
  Slot& input_transform() { return input_; }
  Slot& weight_transform() { return weight_; }
  Slot& bias_transform() { return bias_; }
  Slot& gradient_transform() { return gradient_; }
  // The layer's operation on these operands; no transform runs.
  virtual Variable operate(const Variable& x, const Variable& w, const Variable& b) const = 0;

 protected:
  // operate() between the transforms: input, weight, bias, then the result's gradient.
  Variable run_transformed(const Variable& x) const;
  // Whether something stands between the layer's operands and operate().
  bool transforms_operands() const { return input_ || weight_; }

 private:
  Slot &input_, &weight_, &bias_, &gradient_;
};

class Conv2d : public WeightLayer {
 public:
  Conv2d(const Context& context, const Conv2dArgs& args);  // weight (O, kh, kw, I/groups) in memory
  std::string type_name() const override { return "Conv2d"; }
  std::string describe() const override;
  std::string summary() const override;
  Variable forward(const std::vector<Variable>& inputs) override;
  Variable operate(const Variable& x, const Variable& w, const Variable& b) const override;
  // Of the convolution of padded(input).
  const Conv2dOptions& options() const { return options_; }
  const Conv2dArgs& args() const { return args_; }
  // What lies around the input, 0 unless set: binary layers may want 1 or -1 there. Then padded()
  // puts it there, and the convolution has no padding left to do.
  void set_padding_value(float value);
  float padding_value() const { return padding_value_; }
  Variable padded(const Variable& x) const;  // x itself for 0

 private:
  Conv2dArgs args_;
  Conv2dOptions options_;
  float padding_value_ = 0.0f;
};

class Linear : public WeightLayer {  // weight (out, in)
 public:
  Linear(const Context& context, int in_features, int out_features, bool bias = true);
  std::string type_name() const override { return "Linear"; }
  std::string describe() const override;
  std::string summary() const override;
  Variable forward(const std::vector<Variable>& inputs) override;
  Variable operate(const Variable& x, const Variable& w, const Variable& b) const override;
};

struct BatchNormArgs {
  float eps = 1e-5f, momentum = 0.1f;
  bool affine = true;
};
// What training normalises with (a folding pass sets it).
enum class NormStatistics : uint8_t {
  kBatch,    // the batch's statistics, which move the running ones
  kRunning,  // the running ones, once the batch's have moved them
  kFrozen    // the running ones, which stay
};

// A sign behind a batch norm and its activation, computed with them where it is wanted.
struct FusedSign {
  std::function<bool()> wanted;  // by the next forward
  // What that made: who would take the sign knows it again.
  const void* made = nullptr;
  uint64_t call = 0;  // Module::call_number
};

// BatchNorm1d for (N, C), BatchNorm2d for (N, H, W, C).
class BatchNorm : public Module {
 public:
  BatchNorm(const Context& context, int features, int spatial_rank, const BatchNormArgs& args = {});
  std::string type_name() const override { return rank_ == 2 ? "BatchNorm2d" : "BatchNorm1d"; }
  std::string describe() const override;
  std::string summary() const override;
  Variable forward(const std::vector<Variable>& inputs) override;
  // act(forward(x) + addend) in one pass; the addend may be undefined.
  Variable forward_sum(const Variable& x, const Variable& addend, const ActivationOptions& act);
  Variable weight, bias;               // undefined without affine
  Tensor *running_mean, *running_var;  // buffers
  Tensor* num_batches_tracked;         // int64 scalar
  const BatchNormArgs& args() const { return args_; }
  void set_momentum(float momentum) { args_.momentum = momentum; }
  int features() const { return features_; }
  NormStatistics statistics = NormStatistics::kBatch;
  // An activation computed with the normalisation (a fusing pass sets it).
  ActivationOptions fused_activation;
  // Null: none. Taken where the fused activation is a clamp within [-1, 1].
  std::shared_ptr<FusedSign> fused_sign;

 private:
  bool ends_in_sign(const Variable& addend, const ActivationOptions& act) const;
  int rank_, features_;
  BatchNormArgs args_;
};

// ReLU, ReLU6, Hardtanh, LeakyReLU, Sigmoid.
class ActivationLayer : public Module {
 public:
  ActivationLayer(const Context& context, const ActivationOptions& options)
      : Module(context), options_(options) {}
  std::string type_name() const override;
  std::string describe() const override;
  Variable forward(const std::vector<Variable>& inputs) override;
  const ActivationOptions& options() const { return options_; }

 private:
  ActivationOptions options_;
};

// Over the channels of (N, C).
class Softmax : public Module {
 public:
  using Module::Module;
  std::string type_name() const override { return "Softmax"; }
  std::string describe() const override { return "dim=1"; }
  Variable forward(const std::vector<Variable>& inputs) override;
};

class LogSoftmax : public Module {
 public:
  using Module::Module;
  std::string type_name() const override { return "LogSoftmax"; }
  std::string describe() const override { return "dim=1"; }
  Variable forward(const std::vector<Variable>& inputs) override;
};

// The activation named as PyTorch names it, with PyTorch's defaults.
ModulePtr make_relu(const Context& context);
ModulePtr make_relu6(const Context& context);
ModulePtr make_hardtanh(const Context& context, float low = -1.0f, float high = 1.0f);
ModulePtr make_leaky_relu(const Context& context, float slope = 0.01f);
ModulePtr make_sigmoid(const Context& context);

}  // namespace halftone
