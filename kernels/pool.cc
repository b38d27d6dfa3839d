#include "kernels/pool.h"

#include <string>

#include "kernels/check.h"
#include "kernels/pool_windows.h"

namespace halftone {
namespace {

// PyTorch's rule: with ceil_mode the last window must start inside the input or its left padding.
int64_t pooled(int64_t in, int64_t kernel, int64_t stride, int64_t pad, bool ceil_mode) {
  const int64_t room = in + 2 * pad - kernel;
  if (room < 0 && !ceil_mode) return 0;
  int64_t out = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
  if (ceil_mode && (out - 1) * stride >= in + pad) --out;
  return room + (ceil_mode ? stride - 1 : 0) < 0 ? 0 : out;
}

std::string options_text(const Pool2dOptions& o) {
  auto pair = [](int h, int w) { return std::to_string(h) + "x" + std::to_string(w); };
  return "kernel " + pair(o.kernel_h, o.kernel_w) + ", stride " + pair(o.stride_h, o.stride_w) +
         ", padding " + pair(o.pad_h, o.pad_w);
}

}  // namespace

Shape pool2d_shape(const Shape& x, const Pool2dOptions& o) {
  if (x.rank() != 4) {
    throw HALFTONE_ERROR("pool2d").expected("an image batch with 4 axes").found(x.str());
  }
  const bool valid = o.kernel_h > 0 && o.kernel_w > 0 && o.stride_h > 0 && o.stride_w > 0 &&
                     o.pad_h >= 0 && o.pad_w >= 0 && 2 * o.pad_h <= o.kernel_h &&
                     2 * o.pad_w <= o.kernel_w;
  if (!valid) {
    throw HALFTONE_ERROR("pool2d")
        .expected("kernel and stride above 0, padding at most half of the kernel")
        .found(options_text(o));
  }
  const Shape y{x[0], pooled(x[1], o.kernel_h, o.stride_h, o.pad_h, o.ceil_mode),
                pooled(x[2], o.kernel_w, o.stride_w, o.pad_w, o.ceil_mode), x[3]};
  if (y[1] < 1 || y[2] < 1) {
    throw HALFTONE_ERROR("pool2d")
        .expected("an input no smaller than the window")
        .found("input " + kernels::nchw_text(x) + " with " + options_text(o));
  }
  return y;
}

namespace kernels {

void check_pool(const char* op, const Tensor& x, const Pool2dOptions& options, const Tensor& y) {
  check_dtype(op, "result", y, x.dtype());
  const Shape wanted = pool2d_shape(x.shape(), options);
  if (y.shape() == wanted) return;
  throw HALFTONE_ERROR(op)
      .expected("result of shape " + nchw_text(wanted))
      .found(nchw_text(y.shape()));
}

void check_taps(const char* op, const Pool2dOptions& o, const Tensor& y, const Tensor& taps) {
  check_dtype(op, "taps", taps, DType::kUInt8);
  check_shape(op, "taps", taps, y.shape());
  if (int64_t{o.kernel_h} * o.kernel_w <= 256) return;
  throw HALFTONE_ERROR(op)
      .expected("a window of at most 256 pixels")
      .found(std::to_string(o.kernel_h) + "x" + std::to_string(o.kernel_w));
}

}  // namespace kernels
}  // namespace halftone
