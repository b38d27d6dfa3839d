// Sums and products.
#include "autograd/op_support.h"
#include "autograd/ops.h"
#include "kernels/elementwise.h"

namespace halftone {
namespace {

// A constant in the shape of input i.
void spread(float value, GradSink& sink) { sink.out(0).fill(value); }

}  // namespace

Variable add(const Variable& a, const Variable& b, const ActivationOptions& act) {
  const Tensor& av = a.value();
  Tensor y = Tensor::empty(av.context(), av.shape());
  kernels::add_activation(av, b.value(), act, y);
  const bool masks = act.kind != Activation::kIdentity;
  auto backward = [saved_y = saved_if(masks, y), act](const Tensor& dy, GradSink& sink) {
    Tensor gradient = saved_y.defined() ? reuse_or_empty(dy) : dy;
    if (saved_y.defined()) kernels::activation_backward(dy, saved_y, act, gradient);
    sink.put(0, gradient);
    sink.put(1, gradient);
  };
  return make_result({"add", {a, b}, std::move(backward)}, std::move(y));
}

Variable mul(const Variable& a, const Variable& b) {
  const Tensor& av = a.value();
  const Tensor& bv = b.value();
  Tensor y = Tensor::empty(av.context(), av.shape());
  kernels::mul(av, bv, y);
  auto backward = [saved_a = saved_if(wants_grad(b), av), saved_b = saved_if(wants_grad(a), bv)](
                      const Tensor& dy, GradSink& sink) {
    if (sink.needs(0)) kernels::mul(dy, saved_b, sink.out(0));
    if (sink.needs(1)) kernels::mul(dy, saved_a, sink.out(1));
  };
  return make_result({"mul", {a, b}, std::move(backward)}, std::move(y));
}

Variable scale(const Variable& x, float factor) {
  const Tensor& xv = x.value();
  Tensor y = Tensor::empty(xv.context(), xv.shape());
  kernels::scale(xv, factor, y);
  auto backward = [factor](const Tensor& dy, GradSink& sink) {
    kernels::scale(dy, factor, sink.out(0));
  };
  return make_result({"scale", {x}, std::move(backward)}, std::move(y));
}

Variable sum(const Variable& x) {
  const float total = static_cast<float>(kernels::sum(x.value()));
  auto backward = [](const Tensor& dy, GradSink& sink) { spread(dy.item<float>(), sink); };
  return make_result({"sum", {x}, std::move(backward)}, Tensor::full(x.context(), Shape(), total));
}

Variable mean(const Variable& x) {
  const double count = static_cast<double>(x.value().numel());
  const float average = static_cast<float>(kernels::sum(x.value()) / count);
  auto backward = [count](const Tensor& dy, GradSink& sink) {
    spread(static_cast<float>(dy.item<float>() / count), sink);
  };
  return make_result({"mean", {x}, std::move(backward)},
                     Tensor::full(x.context(), Shape(), average));
}

}  // namespace halftone
