// Convolutions and matrix products of the device made of the CPU: the CPU's, in its memory.
#include "kernels/conv.h"
#include "kernels/device.h"
#include "kernels/matmul.h"
#include "test/device/host_stream.h"

namespace halftone::kernels {
namespace {

// A tensor of the device as one of the host, for work that the device does. It keeps nothing alive,
// as a kernel's arguments do not.
class Seen {
 public:
  explicit Seen(const Tensor* t) : Seen(t != nullptr ? *t : Tensor()) {}
  explicit Seen(const Tensor& t) {
    if (!t.defined()) return;
    view_ = Tensor::view_of(t.context().host(), t.shape(), t.dtype(), const_cast<void*>(t.raw()),
                            nullptr);
  }
  Tensor& operator*() { return view_; }
  Tensor* or_null() { return view_.defined() ? &view_ : nullptr; }

 private:
  Tensor view_;
};

template <class Work>
void submit(const Tensor& on, Work work) {
  static_cast<halftone::cuda::Stream*>(on.context().runtime()->stream())->submit(std::move(work));
}

void conv_body(const Tensor& x, const Tensor& w, const Tensor* bias, const Conv2dOptions& options,
               Tensor& y, ConvAlgorithm) {
  submit(y, [in = Seen(x), weights = Seen(w), b = Seen(bias), options, out = Seen(y)]() mutable {
    conv2d(*in, *weights, b.or_null(), options, *out);
  });
}

void data_body(const Tensor& dy, const Tensor& w, const Conv2dOptions& options, Tensor& dx) {
  submit(dx, [up = Seen(dy), weights = Seen(w), options, out = Seen(dx)]() mutable {
    conv2d_backward_data(*up, *weights, options, *out);
  });
}

void add_data_body(const Tensor& dy, const Tensor& w, const Conv2dOptions& options, Tensor& dx) {
  submit(dx, [up = Seen(dy), weights = Seen(w), options, out = Seen(dx)]() mutable {
    conv2d_add_backward_data(*up, *weights, options, *out);
  });
}

void weight_body(const Tensor& x, const Tensor& dy, const Conv2dOptions& options, Tensor& dw,
                 Tensor* dbias) {
  submit(dw, [in = Seen(x), up = Seen(dy), options, out = Seen(dw), db = Seen(dbias)]() mutable {
    conv2d_backward_weight(*in, *up, options, *out, db.or_null());
  });
}

void matmul_body(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, float beta,
                 Tensor& c) {
  submit(c, [left = Seen(a), transpose_a, right = Seen(b), transpose_b, beta,
             out = Seen(c)]() mutable {
    matmul(*left, transpose_a, *right, transpose_b, beta, *out);
  });
}

void linear_body(const Tensor& x, const Tensor& w, const Tensor* bias, Tensor& y) {
  submit(y, [in = Seen(x), weights = Seen(w), b = Seen(bias), out = Seen(y)]() mutable {
    linear(*in, *weights, b.or_null(), *out);
  });
}

void linear_data_body(const Tensor& dy, const Tensor& w, Tensor& dx) {
  submit(dx, [up = Seen(dy), weights = Seen(w), out = Seen(dx)]() mutable {
    linear_backward_data(*up, *weights, *out);
  });
}

void linear_weight_body(const Tensor& x, const Tensor& dy, Tensor& dw, Tensor* dbias) {
  submit(dw, [in = Seen(x), up = Seen(dy), out = Seen(dw), db = Seen(dbias)]() mutable {
    linear_backward_weight(*in, *up, *out, db.or_null());
  });
}

[[maybe_unused]] const bool registered = [] {
  device_body<& conv2d> = conv_body;
  device_body<& conv2d_backward_data> = data_body;
  device_body<& conv2d_add_backward_data> = add_data_body;
  device_body<& conv2d_backward_weight> = weight_body;
  device_body<& matmul> = matmul_body;
  device_body<& linear> = linear_body;
  device_body<& linear_backward_data> = linear_data_body;
  device_body<& linear_backward_weight> = linear_weight_body;
  return true;
}();

}  // namespace
}  // namespace halftone::kernels
