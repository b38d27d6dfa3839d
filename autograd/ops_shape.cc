// Ops that move values: on codes they move the codes.
#include <cmath>

#include "autograd/op_support.h"
#include "autograd/ops.h"
#include "kernels/elementwise.h"
#include "kernels/pad.h"

namespace halftone {
namespace {

// Applies a move of elements to whatever x holds; the gradient is that of the float op.
template <class Move>
Variable moved(OpRecord record, const Variable& x, Move move) {
  const Codes* codes = x.codes();
  if (codes != nullptr) {
    return make_result(std::move(record), codes->with(move(codes->values)));
  }
  return make_result(std::move(record), move(x.value()));
}

// Waits for a device only where the host cannot know.
int zero_code(const Codes& codes) {
  return codes.zero_point.defined() ? known(codes).params.zero_point : codes.params.zero_point;
}

// True when (H, W, C) and (C, H, W) have the same order of elements.
bool order_is_same(const Shape& nhwc) { return nhwc[3] == 1 || nhwc[1] * nhwc[2] == 1; }

Tensor to_channels_first(const Tensor& x, const Shape& flat) {
  if (order_is_same(x.shape())) return x.reshape(flat);
  Tensor y = Tensor::empty(x.context(), {x.dim(0), x.dim(3), x.dim(1), x.dim(2)}, x.dtype());
  kernels::nhwc_to_nchw(x, y);
  return y.reshape(flat);
}

void flatten_backward(const Tensor& dy, const Shape& nhwc, GradSink& sink) {
  if (order_is_same(nhwc)) return sink.put(0, dy.reshape(nhwc));
  kernels::nchw_to_nhwc(dy.reshape({nhwc[0], nhwc[3], nhwc[1], nhwc[2]}), sink.out(0));
}

// The code of `value`: nothing is rounded silently.
float code_of(float value, const QuantParams& p) {
  const float code = std::rint(value / p.scale) + static_cast<float>(p.zero_point);
  const bool exact = p.scale * (code - static_cast<float>(p.zero_point)) == value;
  if (exact && code >= static_cast<float>(p.qmin) && code <= static_cast<float>(p.qmax))
    return code;
  throw HALFTONE_ERROR("pad")
      .expected("a padding value among the quantized ones: scale " + std::to_string(p.scale) +
                ", codes " + std::to_string(p.qmin) + " to " + std::to_string(p.qmax) +
                ", zero point " + std::to_string(p.zero_point))
      .found(std::to_string(value));
}

}  // namespace

Variable flatten(const Variable& x) {
  const Shape nhwc = x.shape();
  if (nhwc.rank() == 2) return x;
  if (nhwc.rank() != 4) {
    throw HALFTONE_ERROR("flatten").expected("(N, C, H, W) or (N, features)").found(nhwc.str());
  }
  const Shape flat{nhwc[0], nhwc[1] * nhwc[2] * nhwc[3]};
  auto backward = [nhwc](const Tensor& dy, GradSink& sink) { flatten_backward(dy, nhwc, sink); };
  return moved({"flatten", {x}, std::move(backward)}, x,
               [&](const Tensor& t) { return to_channels_first(t, flat); });
}

Variable reshape(const Variable& x, const Shape& shape) {
  auto backward = [from = x.shape()](const Tensor& dy, GradSink& sink) {
    sink.put(0, dy.reshape(from));
  };
  return moved({"reshape", {x}, std::move(backward)}, x,
               [&](const Tensor& t) { return t.reshape(shape); });
}

Variable pad(const Variable& x, int pad_h, int pad_w, float value) {
  const Shape from = x.shape();
  if (from.rank() != 4 || pad_h < 0 || pad_w < 0) {
    throw HALFTONE_ERROR("pad")
        .expected("an image batch of rank 4, padding >= 0")
        .found(from.str() + ", padding " + std::to_string(pad_h) + " and " + std::to_string(pad_w));
  }
  const Shape to{from[0], from[1] + 2 * pad_h, from[2] + 2 * pad_w, from[3]};
  const float fill = x.codes() != nullptr ? code_of(value, known(*x.codes()).params) : value;
  auto backward = [](const Tensor& dy, GradSink& sink) {
    kernels::pad_images_backward(dy, sink.out(0));
  };
  return moved({"pad", {x}, std::move(backward)}, x, [&](const Tensor& t) {
    Tensor y = Tensor::empty(t.context(), to, t.dtype());
    kernels::pad_images(t, fill, y);
    return y;
  });
}

Variable subsample_pad(const Variable& x, int stride, int pad_before, int pad_after) {
  const Shape& from = x.shape();
  if (from.rank() != 4 || stride < 1 || pad_before < 0 || pad_after < 0) {
    throw HALFTONE_ERROR("subsample_pad")
        .expected("an image batch of rank 4, stride >= 1, padding >= 0")
        .found("input " + from.str() + " (NHWC), stride " + std::to_string(stride) + ", padding " +
               std::to_string(pad_before) + " and " + std::to_string(pad_after));
  }
  const auto every = [stride](int64_t n) { return (n + stride - 1) / stride; };
  const Shape to{from.dim(0), every(from.dim(1)), every(from.dim(2)),
                 from.dim(3) + pad_before + pad_after};
  const int fill = x.codes() != nullptr ? zero_code(*x.codes()) : 0;
  auto backward = [stride, pad_before](const Tensor& dy, GradSink& sink) {
    kernels::subsample_pad_backward(dy, stride, pad_before, sink.out(0));
  };
  return moved({"subsample_pad", {x}, std::move(backward)}, x, [&](const Tensor& t) {
    Tensor y = Tensor::empty(t.context(), to, t.dtype());
    kernels::subsample_pad(t, stride, pad_before, y, fill);
    return y;
  });
}

}  // namespace halftone
