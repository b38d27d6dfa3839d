// Activations, Softmax and LogSoftmax.
#include "nn/input_check.h"
#include "nn/layers.h"

namespace halftone {
namespace {

ModulePtr make_activation(const Context& context, Activation kind, float low, float high,
                          float slope) {
  ActivationOptions options;
  options.kind = kind;
  options.low = low;
  options.high = high;
  options.slope = slope;
  return make<ActivationLayer>(context, options);
}

const Variable& rows(const char* op, const std::vector<Variable>& inputs) {
  const Variable& x = only_input(op, inputs);
  if (x.shape().rank() != 2) {
    throw HALFTONE_ERROR(op).expected("an input of shape (N, C)").found(torch_shape(x.shape()));
  }
  return x;
}

}  // namespace

std::string ActivationLayer::type_name() const {
  switch (options_.kind) {
    case Activation::kIdentity:
      return "Identity";
    case Activation::kReLU:
      return "ReLU";
    case Activation::kReLU6:
      return "ReLU6";
    case Activation::kHardtanh:
      return "Hardtanh";
    case Activation::kLeakyReLU:
      return "LeakyReLU";
    case Activation::kSigmoid:
      return "Sigmoid";
  }
  throw HALFTONE_ERROR("activation").expected("a known kind").found("another number");
}

std::string ActivationLayer::describe() const {
  if (options_.kind == Activation::kHardtanh) {
    return "min_val=" + short_number(options_.low) + ", max_val=" + short_number(options_.high);
  }
  if (options_.kind == Activation::kLeakyReLU) {
    return "negative_slope=" + short_number(options_.slope);
  }
  return "";
}

Variable ActivationLayer::forward(const std::vector<Variable>& inputs) {
  return activation(only_input("activation", inputs), options_);
}

Variable Softmax::forward(const std::vector<Variable>& inputs) {
  return softmax(rows("softmax", inputs));
}

Variable LogSoftmax::forward(const std::vector<Variable>& inputs) {
  return log_softmax(rows("log_softmax", inputs));
}

ModulePtr make_relu(const Context& context) {
  return make_activation(context, Activation::kReLU, -1.0f, 1.0f, 0.01f);
}

ModulePtr make_relu6(const Context& context) {
  return make_activation(context, Activation::kReLU6, -1.0f, 1.0f, 0.01f);
}

ModulePtr make_hardtanh(const Context& context, float low, float high) {
  if (!(low < high)) {
    throw HALFTONE_ERROR("hardtanh")
        .expected("low < high")
        .found(short_number(low) + " and " + short_number(high));
  }
  return make_activation(context, Activation::kHardtanh, low, high, 0.01f);
}

ModulePtr make_leaky_relu(const Context& context, float slope) {
  return make_activation(context, Activation::kLeakyReLU, -1.0f, 1.0f, slope);
}

ModulePtr make_sigmoid(const Context& context) {
  return make_activation(context, Activation::kSigmoid, -1.0f, 1.0f, 0.01f);
}

}  // namespace halftone
