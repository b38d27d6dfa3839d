// Convolutions and matrix products of the device made of the CPU: the CPU's, on copies.
#include "kernels/conv.h"
#include "kernels/device.h"
#include "kernels/matmul.h"

namespace halftone::kernels {
namespace {

Tensor home(const Tensor& x) { return x.to(x.context().host()); }

// run(host copy of y); then y takes its values.
template <class Run>
void through_host(Tensor& y, const Run& run) {
  Tensor copy = home(y);
  run(copy);
  y.copy_from(copy);
}

void conv_body(const Tensor& x, const Tensor& w, const Tensor* bias, const Conv2dOptions& options,
               Tensor& y, ConvAlgorithm) {
  const Tensor b = bias != nullptr ? home(*bias) : Tensor();
  through_host(y, [&](Tensor& out) {
    conv2d(home(x), home(w), bias != nullptr ? &b : nullptr, options, out);
  });
}

void data_body(const Tensor& dy, const Tensor& w, const Conv2dOptions& options, Tensor& dx) {
  through_host(dx, [&](Tensor& out) { conv2d_backward_data(home(dy), home(w), options, out); });
}

void add_data_body(const Tensor& dy, const Tensor& w, const Conv2dOptions& options, Tensor& dx) {
  through_host(dx, [&](Tensor& out) { conv2d_add_backward_data(home(dy), home(w), options, out); });
}

void weight_body(const Tensor& x, const Tensor& dy, const Conv2dOptions& options, Tensor& dw,
                 Tensor* dbias) {
  Tensor db = dbias != nullptr ? home(*dbias) : Tensor();
  through_host(dw, [&](Tensor& out) {
    conv2d_backward_weight(home(x), home(dy), options, out, dbias != nullptr ? &db : nullptr);
  });
  if (dbias != nullptr) dbias->copy_from(db);
}

void matmul_body(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, float beta,
                 Tensor& c) {
  through_host(c,
               [&](Tensor& out) { matmul(home(a), transpose_a, home(b), transpose_b, beta, out); });
}

void linear_body(const Tensor& x, const Tensor& w, const Tensor* bias, Tensor& y) {
  const Tensor b = bias != nullptr ? home(*bias) : Tensor();
  through_host(y,
               [&](Tensor& out) { linear(home(x), home(w), bias != nullptr ? &b : nullptr, out); });
}

void linear_data_body(const Tensor& dy, const Tensor& w, Tensor& dx) {
  through_host(dx, [&](Tensor& out) { linear_backward_data(home(dy), home(w), out); });
}

void linear_weight_body(const Tensor& x, const Tensor& dy, Tensor& dw, Tensor* dbias) {
  Tensor db = dbias != nullptr ? home(*dbias) : Tensor();
  through_host(dw, [&](Tensor& out) {
    linear_backward_weight(home(x), home(dy), out, dbias != nullptr ? &db : nullptr);
  });
  if (dbias != nullptr) dbias->copy_from(db);
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
