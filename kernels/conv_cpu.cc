// conv.h on the CPU: checks, and the choice of a body.
#include "kernels/conv.h"

#include <initializer_list>

#include "kernels/bfloat16.h"
#include "kernels/check.h"
#include "kernels/conv_bodies.h"
#include "kernels/conv_direct.h"
#include "kernels/conv_winograd.h"
#include "kernels/device.h"
#include "kernels/elementwise.h"

namespace halftone::kernels {
namespace {

const ConvBodies& library() {
  static const ConvBodies& bodies = onednn_conv() != nullptr ? *onednn_conv() : portable_conv();
  return bodies;
}

// Own kernels of the widest instruction set here; null when there are none.
const ConvBodies* direct() {
  static const ConvBodies* bodies =
      direct_conv_avx512() != nullptr ? direct_conv_avx512() : direct_conv_avx2();
  return bodies;
}

// Where Winograd's algorithm is the fastest: whole tiles for the most part (7 x 7 outputs fill 77 %
// of theirs), and enough of them to pay for the transformation of the weights.
const ConvBodies* winograd(const ConvGeometry& g, int64_t rows, int64_t columns) {
  const int64_t tiles = winograd_tiles(rows, columns);
  if (g.n * tiles < 16 || 4 * rows * columns < 3 * tiles * kWinogradTile * kWinogradTile)
    return nullptr;
  if (winograd_conv_avx512() != nullptr)
    return winograd_avx512_takes(g) ? winograd_conv_avx512() : nullptr;
  return winograd_avx2_takes(g) ? winograd_conv_avx2() : nullptr;
}

// Where our own kernels are faster than oneDNN, as measured with //tools:bench_conv.
//
// Stride 1 with 3 or 5 kernel columns is their strong case. They split work by images.
bool strong(const ConvGeometry& g, const Context& context) {
  return g.options.stride_h == 1 && g.options.stride_w == 1 && (g.kw == 3 || g.kw == 5) &&
         g.n >= context.threads();
}

// Beyond these weights (9 taps x 256 x 256) oneDNN's blocking over images wins.
bool own_forward(const ConvGeometry& g, const Context& context) {
  return g.c < 16 || (strong(g, context) && g.taps() * g.o <= 600000);
}

bool own_data(const ConvGeometry& g, const Context& context) {
  return g.c <= 8 || strong(g, context);
}

// LeNet-5's 5 x 5 kernels on few channels, and ResNet-20's strides.
bool own_weight(const ConvGeometry& g) {
  return (g.c < 16 && g.kh * g.kw > 9) || (g.options.stride_w > 1 && g.c <= 16);
}

const ConvBodies& choose(const ConvGeometry& g, bool own_is_faster) {
  const bool own = own_is_faster || onednn_conv() == nullptr;
  return own && direct() != nullptr && direct_conv_takes(g) ? *direct() : library();
}

const ConvBodies& choose_data(const ConvGeometry& g, const Context& context) {
  if (const ConvBodies* bodies = winograd(g, g.h, g.w)) return *bodies;
  return choose(g, own_data(g, context));
}

// The library reads memory, whatever its type.
void check_floats(const char* op, std::initializer_list<const Tensor*> tensors) {
  for (const Tensor* t : tensors) {
    if (t != nullptr) check_dtype(op, "values", *t, DType::kFloat32);
  }
}

}  // namespace

void conv2d(const Tensor& x, const Tensor& w, const Tensor* bias, const Conv2dOptions& options,
            Tensor& y, ConvAlgorithm algorithm) {
  const ConvGeometry g = conv_geometry("conv2d", x.shape(), w.shape(), options);
  check_conv_shape("conv2d", "an output of", y, {g.n, g.oh, g.ow, g.o});
  if (bias != nullptr) check_conv_shape("conv2d", "a bias of", *bias, {g.o});
  check_floats("conv2d", {&x, &w, bias, &y});
  if (y.numel() == 0) return;
  HALFTONE_ON_DEVICE(conv2d, x, x, w, bias, options, y, algorithm);
  const ConvBodies* fast = algorithm == ConvAlgorithm::kAuto ? winograd(g, g.oh, g.ow) : nullptr;
  const ConvBodies& bodies = fast != nullptr ? *fast : choose(g, own_forward(g, x.context()));
  const DeviceMath math = x.context().math();
  bodies.forward(g, operand(x, math), operand(w, math), bias, y);
}

namespace {

ConvGeometry data_geometry(const Tensor& dy, const Tensor& w, const Conv2dOptions& options,
                           const Tensor& dx) {
  const char* op = "conv2d_backward_data";
  const ConvGeometry g = conv_geometry(op, dx.shape(), w.shape(), options);
  check_conv_shape(op, "an output gradient of", dy, {g.n, g.oh, g.ow, g.o});
  check_floats(op, {&dy, &w, &dx});
  return g;
}

}  // namespace

void conv2d_backward_data(const Tensor& dy, const Tensor& w, const Conv2dOptions& options,
                          Tensor& dx) {
  const ConvGeometry g = data_geometry(dy, w, options, dx);
  if (dx.numel() == 0) return;
  HALFTONE_ON_DEVICE(conv2d_backward_data, dy, dy, w, options, dx);
  const DeviceMath math = dy.context().backward_math();
  choose_data(g, dy.context()).backward_data(g, operand(dy, math), operand(w, math), dx);
}

void conv2d_add_backward_data(const Tensor& dy, const Tensor& w, const Conv2dOptions& options,
                              Tensor& dx) {
  const ConvGeometry g = data_geometry(dy, w, options, dx);
  if (dx.numel() == 0) return;
  HALFTONE_ON_DEVICE(conv2d_add_backward_data, dy, dy, w, options, dx);
  const ConvBodies& bodies = choose_data(g, dy.context());
  const DeviceMath math = dy.context().backward_math();
  const Tensor a = operand(dy, math), b = operand(w, math);
  if (bodies.add_backward_data != nullptr && !scatter_data_takes(g)) {
    bodies.add_backward_data(g, a, b, dx);
    return;
  }
  Tensor gradient = Tensor::empty(dx.context(), dx.shape());
  bodies.backward_data(g, a, b, gradient);
  accumulate(gradient, dx);
}

void conv2d_backward_weight(const Tensor& x, const Tensor& dy, const Conv2dOptions& options,
                            Tensor& dw, Tensor* dbias) {
  const char* op = "conv2d_backward_weight";
  const ConvGeometry g = conv_geometry(op, x.shape(), dw.shape(), options);
  check_conv_shape(op, "an output gradient of", dy, {g.n, g.oh, g.ow, g.o});
  if (dbias != nullptr) check_conv_shape(op, "a bias gradient of", *dbias, {g.o});
  check_floats(op, {&x, &dy, &dw, dbias});
  if (dy.numel() == 0) {
    dw.fill(0.0f);
    if (dbias != nullptr) dbias->fill(0.0f);
    return;
  }
  HALFTONE_ON_DEVICE(conv2d_backward_weight, x, x, dy, options, dw, dbias);
  const ConvBodies* fast = winograd(g, g.oh, g.ow);
  const ConvBodies& bodies = fast != nullptr ? *fast : choose(g, own_weight(g));
  const DeviceMath math = x.context().backward_math();
  bodies.backward_weight(g, operand(x, math), operand(dy, math), dw, dbias);
}

}  // namespace halftone::kernels
