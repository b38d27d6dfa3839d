// Pooling.
#include "autograd/op_support.h"
#include "autograd/ops.h"

namespace halftone {
namespace {

// Forward on float values or on codes; the winning taps where a backward will want them.
Tensor max_pool(const Tensor& x, const Pool2dOptions& options, bool with_taps, Tensor& taps) {
  const Shape shape = pool2d_shape(x.shape(), options);
  Tensor y = Tensor::empty(x.context(), shape, x.dtype());
  if (with_taps) {
    taps = Tensor::empty(x.context(), shape, DType::kUInt8);
    kernels::max_pool2d_with_taps(x, options, y, taps);
  } else {
    kernels::max_pool2d(x, options, y);
  }
  return y;
}

}  // namespace

Variable max_pool2d(const Variable& x, const Pool2dOptions& options) {
  const bool saves = wants_grad(x);
  // An activation bounds reals: with one, codes are pooled as what they stand for.
  const Codes* codes = options.act.kind == Activation::kIdentity ? x.codes() : nullptr;
  Tensor taps;
  Tensor y = max_pool(codes != nullptr ? codes->values : x.value(), options, saves, taps);
  OpRecord record{"max_pool2d", {x}, {}};
  if (saves) {
    const bool reads_y = options.act.kind != Activation::kIdentity;
    record.backward = [saved_y = saved_if(reads_y, y), taps, options](const Tensor& dy,
                                                                      GradSink& sink) {
      kernels::max_pool2d_backward(dy, saved_y, taps, options, sink.out(0));
    };
  }
  if (codes != nullptr) return make_result(std::move(record), codes->with(std::move(y)));
  return make_result(std::move(record), std::move(y));
}

Variable avg_pool2d(const Variable& x, const Pool2dOptions& options) {
  const Tensor& xv = x.value();
  Tensor y = Tensor::empty(xv.context(), pool2d_shape(xv.shape(), options));
  kernels::avg_pool2d(xv, options, y);
  auto backward = [options](const Tensor& dy, GradSink& sink) {
    kernels::avg_pool2d_backward(dy, options, sink.out(0));
  };
  return make_result({"avg_pool2d", {x}, std::move(backward)}, std::move(y));
}

Variable adaptive_avg_pool2d(const Variable& x, int out_h, int out_w) {
  const Tensor& xv = x.value();
  if (xv.rank() != 4 || out_h <= 0 || out_w <= 0) {
    throw HALFTONE_ERROR("adaptive_avg_pool2d")
        .expected("an image batch of rank 4 and a positive output size")
        .found("input " + xv.shape().str() + " (NHWC), output " + std::to_string(out_h) + " x " +
               std::to_string(out_w));
  }
  Tensor y = Tensor::empty(xv.context(), {xv.dim(0), out_h, out_w, xv.dim(3)});
  kernels::adaptive_avg_pool2d(xv, y);
  auto backward = [](const Tensor& dy, GradSink& sink) {
    kernels::adaptive_avg_pool2d_backward(dy, sink.out(0));
  };
  return make_result({"adaptive_avg_pool2d", {x}, std::move(backward)}, std::move(y));
}

}  // namespace halftone
