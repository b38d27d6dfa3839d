// Conv2d and Linear.
#include "nn/init.h"
#include "nn/input_check.h"
#include "nn/layers.h"

namespace halftone {
namespace {

std::string pair(int h, int w) { return "(" + std::to_string(h) + ", " + std::to_string(w) + ")"; }

void check_args(const Conv2dArgs& a) {
  const bool positive = a.in_channels > 0 && a.out_channels > 0 && a.kernel_size > 0 &&
                        a.stride > 0 && a.padding >= 0 && a.dilation > 0 && a.groups > 0;
  if (positive && a.in_channels % a.groups == 0 && a.out_channels % a.groups == 0) return;
  throw HALFTONE_ERROR("conv2d")
      .expected("positive extents, and channels that are multiples of groups")
      .found("in_channels " + std::to_string(a.in_channels) + ", out_channels " +
             std::to_string(a.out_channels) + ", kernel_size " + std::to_string(a.kernel_size) +
             ", stride " + std::to_string(a.stride) + ", padding " + std::to_string(a.padding) +
             ", dilation " + std::to_string(a.dilation) + ", groups " + std::to_string(a.groups));
}

Conv2dOptions options_of(const Conv2dArgs& a) {
  Conv2dOptions o;
  o.stride_h = o.stride_w = a.stride;
  o.pad_h = o.pad_w = a.padding;
  o.dilation_h = o.dilation_w = a.dilation;
  o.groups = a.groups;
  return o;
}

}  // namespace

WeightLayer::WeightLayer(const Context& context)
    : Module(context),
      input_(register_transform("input")),
      weight_(register_transform("weight")),
      bias_(register_transform("bias")),
      gradient_(register_transform("gradient")) {}

Variable WeightLayer::run_transformed(const Variable& x) const {
  const Variable in = input_(x), w = weight_(weight), b = bias.defined() ? bias_(bias) : bias;
  return gradient_(operate(in, w, b));
}

Conv2d::Conv2d(const Context& context, const Conv2dArgs& args)
    : WeightLayer(context), args_(args), options_(options_of(args)) {
  check_args(args);
  if (args_.kernel_w <= 0) args_.kernel_w = args_.kernel_size;
  Tensor w = Tensor::empty(context, {args_.out_channels, args_.kernel_size, args_.kernel_w,
                                     args_.in_channels / args_.groups});
  Tensor b;
  if (args_.bias) b = Tensor::empty(context, {args_.out_channels});
  init::torch_default(w, args_.bias ? &b : nullptr);
  register_parameter("weight", weight, w, DiskLayout::kOIHW);
  if (args_.bias) register_parameter("bias", bias, b);
}

std::string Conv2d::describe() const {
  const Conv2dArgs& a = args_;
  std::string text = std::to_string(a.in_channels) + ", " + std::to_string(a.out_channels) +
                     ", kernel_size=" + pair(a.kernel_size, a.kernel_w) +
                     ", stride=" + pair(a.stride, a.stride);
  if (a.padding != 0) text += ", padding=" + pair(a.padding, a.padding);
  if (a.dilation != 1) text += ", dilation=" + pair(a.dilation, a.dilation);
  if (a.groups != 1) text += ", groups=" + std::to_string(a.groups);
  if (padding_value_ != 0.0f) text += ", padding_value=" + short_number(padding_value_);
  return text + (a.bias ? "" : ", bias=False");
}

std::string Conv2d::summary() const {
  return "Conv2d " + std::to_string(args_.in_channels) + "->" + std::to_string(args_.out_channels);
}

void Conv2d::set_padding_value(float value) {
  padding_value_ = value;
  options_ = options_of(args_);
  if (value != 0.0f) options_.pad_h = options_.pad_w = 0;
}

Variable Conv2d::padded(const Variable& x) const {
  if (padding_value_ == 0.0f || args_.padding == 0) return x;
  return pad(x, args_.padding, args_.padding, padding_value_);
}

Variable Conv2d::forward(const std::vector<Variable>& inputs) {
  const Variable& x = only_input("conv2d", inputs);
  if (x.shape().rank() != 4 || x.shape()[3] != args_.in_channels) {
    check_channels("conv2d", x.shape(), 4, args_.in_channels,
                   "weight " + torch_shape(weight.shape()));
  }
  return run_transformed(x);
}

Variable Conv2d::operate(const Variable& x, const Variable& w, const Variable& b) const {
  // Transforms may make integers of the operands (signs, say): their sums stay exact.
  return conv2d(padded(x), w, b, options_,
                transforms_operands() ? ConvAlgorithm::kDirect : ConvAlgorithm::kAuto);
}

Linear::Linear(const Context& context, int in_features, int out_features, bool with_bias)
    : WeightLayer(context) {
  if (in_features <= 0 || out_features <= 0) {
    throw HALFTONE_ERROR("linear")
        .expected("positive numbers of features")
        .found(std::to_string(in_features) + " to " + std::to_string(out_features));
  }
  Tensor w = Tensor::empty(context, {out_features, in_features});
  Tensor b;
  if (with_bias) b = Tensor::empty(context, {out_features});
  init::torch_default(w, with_bias ? &b : nullptr);
  register_parameter("weight", weight, w);
  if (with_bias) register_parameter("bias", bias, b);
}

std::string Linear::describe() const {
  return "in_features=" + std::to_string(weight.shape()[1]) +
         ", out_features=" + std::to_string(weight.shape()[0]) +
         ", bias=" + (bias.defined() ? "True" : "False");
}

std::string Linear::summary() const {
  return "Linear " + std::to_string(weight.shape()[1]) + "->" + std::to_string(weight.shape()[0]);
}

Variable Linear::forward(const std::vector<Variable>& inputs) {
  const Variable& x = only_input("linear", inputs);
  if (x.shape().rank() != 2 || x.shape()[1] != weight.shape()[1]) {
    const bool image = x.shape().rank() == 4;
    check_channels("linear", x.shape(), 2, weight.shape()[1],
                   "weight " + torch_shape(weight.shape()), image ? "put a Flatten before it" : "");
  }
  return run_transformed(x);
}

Variable Linear::operate(const Variable& x, const Variable& w, const Variable& b) const {
  return linear(x, w, b);
}

}  // namespace halftone
