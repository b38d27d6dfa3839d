// loss.h and optimizer.h on a device.
#include <cstddef>

#include "kernels/device_call.h"
#include "kernels/loss.h"
#include "kernels/loss_cuda.h"
#include "kernels/optimizer_cuda.h"

namespace halftone::kernels {
namespace {

template <bool kLog>
void softmax_body(const Tensor& x, Tensor& y) {
  const DevicePointers p(x);
  cuda::softmax(stream_of(x), {rows_of(x), x.dim(-1), kLog, p.in(x), p.out(y)});
}

template <bool kLog>
void softmax_backward_body(const Tensor& dy, const Tensor& y, Tensor& dx) {
  const DevicePointers p(dy);
  cuda::softmax_backward(stream_of(dy),
                         {rows_of(dy), dy.dim(-1), kLog, p.in(dy), p.in(y), p.out(dx)});
}

// Waits for the device.
float loss_of(const char* op, int64_t classes, const DeviceRoom<cuda::LossResult>& room) {
  const cuda::LossResult result = room.values()[0];
  if (result.bad_labels == 0) return result.loss;
  throw HALFTONE_ERROR(op)
      .expected("labels in [0, " + std::to_string(classes) + ")")
      .found(std::to_string(result.bad_labels) + " others");
}

cuda::LossKind kind_of(LabelledLoss kind) {
  if (kind == LabelledLoss::kCrossEntropy) return cuda::LossKind::kCrossEntropy;
  return kind == LabelledLoss::kNll ? cuda::LossKind::kNll : cuda::LossKind::kSquaredHinge;
}

Tensor loss_body(LabelledLoss kind, const Tensor& x, const Tensor& labels, float label_smoothing,
                 Tensor& dx) {
  static_assert(offsetof(cuda::LossResult, loss) == 0, "the result begins with the loss");
  const DevicePointers p(x);
  Tensor result = Tensor::empty(x.context(), {sizeof(cuda::LossResult) / sizeof(float)});
  cuda::loss(stream_of(x),
             {kind_of(kind), x.dim(0), x.dim(1), label_smoothing, p.in(x), p.in<int64_t>(labels),
              p.out(dx), static_cast<cuda::LossResult*>(result.raw())});
  return result.slice(0, 1).reshape(Shape());
}

void correct_body(const Tensor& x, const Tensor& labels, Tensor& correct) {
  const DevicePointers p(x);
  cuda::count_correct(
      stream_of(x), {x.dim(0), x.dim(1), p.in(x), p.in<int64_t>(labels), p.out<int64_t>(correct)});
}

float labelled_loss(const char* op, cuda::LossKind kind, const Tensor& x, const Tensor& labels,
                    float label_smoothing, Tensor& dx) {
  const DevicePointers p(x);
  DeviceRoom<cuda::LossResult> result(x.context(), 1);
  cuda::loss(stream_of(x), {kind, x.dim(0), x.dim(1), label_smoothing, p.in(x),
                            p.in<int64_t>(labels), p.out(dx), result.data()});
  return loss_of(op, x.dim(1), result);
}

float cross_entropy_body(const Tensor& x, const Tensor& labels, float label_smoothing, Tensor& dx) {
  return labelled_loss("cross_entropy", cuda::LossKind::kCrossEntropy, x, labels, label_smoothing,
                       dx);
}

float nll_body(const Tensor& x, const Tensor& labels, Tensor& dx) {
  return labelled_loss("nll", cuda::LossKind::kNll, x, labels, 0.0f, dx);
}

float squared_hinge_body(const Tensor& x, const Tensor& labels, Tensor& dx) {
  return labelled_loss("squared_hinge", cuda::LossKind::kSquaredHinge, x, labels, 0.0f, dx);
}

float mse_body(const Tensor& x, const Tensor& target, Tensor& dx) {
  const DevicePointers p(x);
  DeviceRoom<cuda::LossResult> result(x.context(), 1);
  cuda::mse(stream_of(x), {x.numel(), p.in(x), p.in(target), p.out(dx), result.data()});
  return loss_of("mse", 0, result);
}

int64_t count_correct_body(const Tensor& x, const Tensor& labels) {
  const DevicePointers p(x);
  DeviceRoom<int64_t> correct(x.context(), 1);
  cuda::count_correct(stream_of(x),
                      {x.dim(0), x.dim(1), p.in(x), p.in<int64_t>(labels), correct.data()});
  return correct.values()[0];
}

void sgd_body(const SgdOptions& options, const Tensor& grad, Tensor& weights, Tensor& buffer) {
  const DevicePointers p(weights);
  cuda::sgd_step(stream_of(weights), {weights.numel(), options, p.in(grad), p.out(weights),
                                      options.momentum == 0.0 ? nullptr : p.out(buffer)});
}

void adam_body(const AdamOptions& options, const Tensor& grad, Tensor& weights, Tensor& exp_avg,
               Tensor& exp_avg_sq) {
  const DevicePointers p(weights);
  cuda::adam_step(stream_of(weights), {weights.numel(), options, p.in(grad), p.out(weights),
                                       p.out(exp_avg), p.out(exp_avg_sq)});
}

[[maybe_unused]] const bool registered = [] {
  device_body<& softmax> = softmax_body<false>;
  device_body<& log_softmax> = softmax_body<true>;
  device_body<& softmax_backward> = softmax_backward_body<false>;
  device_body<& log_softmax_backward> = softmax_backward_body<true>;
  device_body<& cross_entropy> = cross_entropy_body;
  device_body<& nll> = nll_body;
  device_body<& squared_hinge> = squared_hinge_body;
  device_body<& mse> = mse_body;
  device_body<& loss_on_device> = loss_body;
  device_body<& count_correct_on_device> = correct_body;
  device_body<& count_correct> = count_correct_body;
  device_body<& sgd_step> = sgd_body;
  device_body<& adam_step> = adam_body;
  return true;
}();

}  // namespace
}  // namespace halftone::kernels
