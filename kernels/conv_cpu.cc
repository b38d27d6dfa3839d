// conv.h on the CPU: checks, and the choice of a body.
#include "kernels/conv.h"
#include "kernels/conv_bodies.h"

namespace halftone::kernels {
namespace {

const ConvBodies& library() {
  static const ConvBodies& bodies = onednn_conv() != nullptr ? *onednn_conv() : portable_conv();
  return bodies;
}

}  // namespace

void conv2d(const Tensor& x, const Tensor& w, const Tensor* bias, const Conv2dOptions& options,
            Tensor& y) {
  const ConvGeometry g = conv_geometry("conv2d", x.shape(), w.shape(), options);
  check_conv_shape("conv2d", "an output of", y, {g.n, g.oh, g.ow, g.o});
  if (bias != nullptr) check_conv_shape("conv2d", "a bias of", *bias, {g.o});
  if (y.numel() == 0) return;
  library().forward(g, x, w, bias, y);
}

void conv2d_backward_data(const Tensor& dy, const Tensor& w, const Conv2dOptions& options,
                          Tensor& dx) {
  const char* op = "conv2d_backward_data";
  const ConvGeometry g = conv_geometry(op, dx.shape(), w.shape(), options);
  check_conv_shape(op, "an output gradient of", dy, {g.n, g.oh, g.ow, g.o});
  if (dx.numel() == 0) return;
  library().backward_data(g, dy, w, dx);
}

void conv2d_backward_weight(const Tensor& x, const Tensor& dy, const Conv2dOptions& options,
                            Tensor& dw, Tensor* dbias) {
  const char* op = "conv2d_backward_weight";
  const ConvGeometry g = conv_geometry(op, x.shape(), dw.shape(), options);
  check_conv_shape(op, "an output gradient of", dy, {g.n, g.oh, g.ow, g.o});
  if (dbias != nullptr) check_conv_shape(op, "a bias gradient of", *dbias, {g.o});
  if (dy.numel() == 0) {
    dw.fill(0.0f);
    if (dbias != nullptr) dbias->fill(0.0f);
    return;
  }
  library().backward_weight(g, x, dy, dw, dbias);
}

}  // namespace halftone::kernels
