// Losses: the forward computes the gradient for an upstream of 1, backward scales it.
#include "autograd/op_support.h"
#include "autograd/ops.h"
#include "kernels/elementwise.h"
#include "kernels/loss.h"

namespace halftone {
namespace {

void loss_backward(const Tensor& dx, const Tensor& dy, GradSink& sink) {
  const float upstream = dy.item<float>();
  if (upstream == 1.0f) return sink.put(0, dx);
  kernels::scale(dx, upstream, sink.out(0));
}

// kernel(x, dx) returns the loss and fills dx.
template <class Kernel>
Variable loss(const char* op, const Variable& x, Kernel kernel) {
  const Tensor& xv = x.value();
  Tensor dx = Tensor::empty(xv.context(), xv.shape());
  Tensor value = Tensor::full(xv.context(), Shape(), kernel(xv, dx));
  auto backward = [dx](const Tensor& dy, GradSink& sink) { loss_backward(dx, dy, sink); };
  return make_result({op, {x}, std::move(backward)}, std::move(value));
}

}  // namespace

Variable cross_entropy(const Variable& logits, const Tensor& labels, float label_smoothing) {
  return loss("cross_entropy", logits, [&](const Tensor& x, Tensor& dx) {
    return kernels::cross_entropy(x, labels, label_smoothing, dx);
  });
}

Variable nll_loss(const Variable& log_probabilities, const Tensor& labels) {
  return loss("nll_loss", log_probabilities,
              [&](const Tensor& x, Tensor& dx) { return kernels::nll(x, labels, dx); });
}

Variable mse_loss(const Variable& x, const Tensor& target) {
  return loss("mse_loss", x,
              [&](const Tensor& v, Tensor& dx) { return kernels::mse(v, target, dx); });
}

Variable squared_hinge_loss(const Variable& x, const Tensor& labels) {
  return loss("squared_hinge_loss", x,
              [&](const Tensor& v, Tensor& dx) { return kernels::squared_hinge(v, labels, dx); });
}

}  // namespace halftone
