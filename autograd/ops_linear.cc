// Convolution and matrix product.
#include "autograd/op_support.h"
#include "autograd/ops.h"
#include "kernels/matmul.h"

namespace halftone {
namespace {

void check_linear(const Variable& x, const Variable& w) {
  if (x.shape().rank() == 2 && w.shape().rank() == 2 && x.shape()[1] == w.shape()[1]) return;
  throw HALFTONE_ERROR("linear")
      .expected("x (N, in) and weight (out, in)")
      .found("x " + x.shape().str() + ", weight " + w.shape().str())
      .fix(x.shape().rank() == 4 ? "put a Flatten in front" : "");
}

}  // namespace

Variable conv2d(const Variable& x, const Variable& w, const Variable& bias,
                const Conv2dOptions& options, ConvAlgorithm algorithm) {
  const Tensor& xv = x.value();
  const Tensor& wv = w.value();
  Tensor y = Tensor::empty(xv.context(), conv2d_shape(xv.shape(), wv.shape(), options));
  kernels::conv2d(xv, wv, value_or_null(bias), options, y, algorithm);
  auto backward = [saved_x = saved_if(wants_grad(w) || wants_grad(bias), xv),
                   saved_w = saved_if(wants_grad(x), wv), w_shape = wv.shape(),
                   options](const Tensor& dy, GradSink& sink) {
    if (Tensor* sum = sink.sum(0)) {
      kernels::conv2d_add_backward_data(dy, saved_w, options, *sum);
    } else if (sink.needs(0)) {
      kernels::conv2d_backward_data(dy, saved_w, options, sink.out(0));
    }
    if (!sink.needs(1) && !sink.needs(2)) return;
    Tensor scratch;
    Tensor& dw = out_or_scratch(sink, 1, dy.context(), w_shape, scratch);
    kernels::conv2d_backward_weight(saved_x, dy, options, dw, out_or_null(sink, 2));
  };
  return make_result({"conv2d", {x, w, bias}, std::move(backward)}, std::move(y));
}

Variable linear(const Variable& x, const Variable& w, const Variable& bias) {
  check_linear(x, w);
  const Tensor& xv = x.value();
  const Tensor& wv = w.value();
  Tensor y = Tensor::empty(xv.context(), {xv.dim(0), wv.dim(0)});
  kernels::linear(xv, wv, value_or_null(bias), y);
  auto backward = [saved_x = saved_if(wants_grad(w) || wants_grad(bias), xv),
                   saved_w = saved_if(wants_grad(x), wv),
                   w_shape = wv.shape()](const Tensor& dy, GradSink& sink) {
    if (sink.needs(0)) kernels::linear_backward_data(dy, saved_w, sink.out(0));
    if (!sink.needs(1) && !sink.needs(2)) return;
    Tensor scratch;
    Tensor& dw = out_or_scratch(sink, 1, dy.context(), w_shape, scratch);
    kernels::linear_backward_weight(saved_x, dy, dw, out_or_null(sink, 2));
  };
  return make_result({"linear", {x, w, bias}, std::move(backward)}, std::move(y));
}

}  // namespace halftone
