// Losses: the forward computes the gradient for an upstream of 1, backward scales it.
#include "autograd/anomaly.h"
#include "autograd/op_support.h"
#include "autograd/ops.h"
#include "kernels/elementwise.h"
#include "kernels/loss.h"

namespace halftone {
namespace {

void loss_backward(const Tensor& dx, const Tensor& dy, GradSink& sink) {
  if (!dx.on_host()) return kernels::scale_by(dx, dy, sink.out(0));
  const float upstream = dy.item<float>();
  if (upstream == 1.0f) return sink.put(0, dx);
  kernels::scale(dx, upstream, sink.out(0));
}

Variable loss_result(const char* op, const Variable& x, const Tensor& dx, Tensor value) {
  auto backward = [dx](const Tensor& dy, GradSink& sink) { loss_backward(dx, dy, sink); };
  return make_result({op, {x}, std::move(backward)}, std::move(value));
}

// kernel(x, dx) returns the loss and fills dx.
template <class Kernel>
Variable loss(const char* op, const Variable& x, Kernel kernel) {
  const Tensor& xv = x.value();
  Tensor dx = Tensor::empty(xv.context(), xv.shape());
  Tensor value = Tensor::full(xv.context(), Shape(), kernel(xv, dx));
  return loss_result(op, x, dx, std::move(value));
}

// Of devices: nobody waits for the loss, but where what is wrong with it is looked for.
bool stays_there(const Variable& x) { return !x.context().on_cpu() && !DetectNonFinite::active(); }

Variable loss_there(const char* op, kernels::LabelledLoss kind, const Variable& x,
                    const Tensor& labels, float label_smoothing) {
  Tensor dx = Tensor::empty(x.context(), x.shape());
  Tensor value = kernels::loss_on_device(kind, x.value(), labels, label_smoothing, dx);
  return loss_result(op, x, dx, std::move(value));
}

}  // namespace

Variable cross_entropy(const Variable& logits, const Tensor& labels, float label_smoothing) {
  if (stays_there(logits)) {
    return loss_there("cross_entropy", kernels::LabelledLoss::kCrossEntropy, logits, labels,
                      label_smoothing);
  }
  return loss("cross_entropy", logits, [&](const Tensor& x, Tensor& dx) {
    return kernels::cross_entropy(x, labels, label_smoothing, dx);
  });
}

Variable nll_loss(const Variable& log_probabilities, const Tensor& labels) {
  if (stays_there(log_probabilities)) {
    return loss_there("nll_loss", kernels::LabelledLoss::kNll, log_probabilities, labels, 0.0f);
  }
  return loss("nll_loss", log_probabilities,
              [&](const Tensor& x, Tensor& dx) { return kernels::nll(x, labels, dx); });
}

Variable mse_loss(const Variable& x, const Tensor& target) {
  return loss("mse_loss", x,
              [&](const Tensor& v, Tensor& dx) { return kernels::mse(v, target, dx); });
}

Variable squared_hinge_loss(const Variable& x, const Tensor& labels) {
  if (stays_there(x)) {
    return loss_there("squared_hinge_loss", kernels::LabelledLoss::kSquaredHinge, x, labels, 0.0f);
  }
  return loss("squared_hinge_loss", x,
              [&](const Tensor& v, Tensor& dx) { return kernels::squared_hinge(v, labels, dx); });
}

}  // namespace halftone
