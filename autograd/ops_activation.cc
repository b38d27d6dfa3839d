// Activations, dropout, softmax: shape in, shape out.
#include "autograd/op_support.h"
#include "autograd/ops.h"
#include "kernels/loss.h"

namespace halftone {
namespace {

const char* op_name(Activation kind) {
  switch (kind) {
    case Activation::kReLU:
      return "relu";
    case Activation::kReLU6:
      return "relu6";
    case Activation::kHardtanh:
      return "hardtanh";
    case Activation::kLeakyReLU:
      return "leaky_relu";
    case Activation::kSigmoid:
      return "sigmoid";
    case Activation::kIdentity:
      break;
  }
  return "identity";
}

// Backward reads the side of the kink from y: a negative slope would turn its sign around.
void check_slope(const ActivationOptions& options) {
  if (options.kind != Activation::kLeakyReLU || options.slope >= 0.0f) return;
  throw HALFTONE_ERROR("leaky_relu")
      .expected("a negative_slope of at least 0 where a gradient is wanted")
      .found(std::to_string(options.slope));
}

void check_probability(float p) {
  if (p >= 0.0f && p <= 1.0f) return;
  throw HALFTONE_ERROR("dropout").expected("a probability in [0, 1]").found(std::to_string(p));
}

}  // namespace

Variable activation(const Variable& x, const ActivationOptions& options) {
  if (options.kind == Activation::kIdentity) return x;
  if (wants_grad(x)) check_slope(options);
  const Tensor& xv = x.value();
  Tensor y = Tensor::empty(xv.context(), xv.shape());
  kernels::activation(xv, options, y);
  auto backward = [y, options](const Tensor& dy, GradSink& sink) {
    kernels::activation_backward(dy, y, options, sink.out(0));
  };
  return make_result({op_name(options.kind), {x}, std::move(backward)}, y);
}

Variable relu(const Variable& x) {
  ActivationOptions options;
  options.kind = Activation::kReLU;
  return activation(x, options);
}

Variable dropout(const Variable& x, float p, bool training) {
  check_probability(p);
  if (!training || p == 0.0f) return x;
  const Tensor& xv = x.value();
  const Philox stream = xv.context().random().stream();
  Tensor y = Tensor::empty(xv.context(), xv.shape());
  kernels::dropout(xv, p, stream, y);
  auto backward = [p, stream](const Tensor& dy, GradSink& sink) {
    kernels::dropout(dy, p, stream, sink.out(0));
  };
  return make_result({"dropout", {x}, std::move(backward)}, std::move(y));
}

Variable softmax(const Variable& x) {
  const Tensor& xv = x.value();
  Tensor y = Tensor::empty(xv.context(), xv.shape());
  kernels::softmax(xv, y);
  auto backward = [y](const Tensor& dy, GradSink& sink) {
    kernels::softmax_backward(dy, y, sink.out(0));
  };
  return make_result({"softmax", {x}, std::move(backward)}, y);
}

Variable log_softmax(const Variable& x) {
  const Tensor& xv = x.value();
  Tensor y = Tensor::empty(xv.context(), xv.shape());
  kernels::log_softmax(xv, y);
  auto backward = [y](const Tensor& dy, GradSink& sink) {
    kernels::log_softmax_backward(dy, y, sink.out(0));
  };
  return make_result({"log_softmax", {x}, std::move(backward)}, y);
}

}  // namespace halftone
