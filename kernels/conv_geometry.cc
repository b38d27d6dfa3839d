#include "kernels/conv_geometry.h"

namespace halftone {
namespace {

using kernels::channels_first;

void check_options(const char* op, const Conv2dOptions& o) {
  const auto pair = [](int h, int w) { return std::to_string(h) + " x " + std::to_string(w); };
  if (o.stride_h < 1 || o.stride_w < 1) {
    throw HALFTONE_ERROR(op).expected("a stride of at least 1").found(pair(o.stride_h, o.stride_w));
  }
  if (o.dilation_h < 1 || o.dilation_w < 1) {
    throw HALFTONE_ERROR(op)
        .expected("a dilation of at least 1")
        .found(pair(o.dilation_h, o.dilation_w));
  }
  if (o.pad_h < 0 || o.pad_w < 0) {
    throw HALFTONE_ERROR(op).expected("a padding of at least 0").found(pair(o.pad_h, o.pad_w));
  }
  if (o.groups < 1) {
    throw HALFTONE_ERROR(op).expected("at least 1 group").found(std::to_string(o.groups));
  }
}

void check_channels(const char* op, const Shape& x, const Shape& w, int groups) {
  if (x.rank() != 4) {
    throw HALFTONE_ERROR(op).expected("an input of 4 axes (N, C, H, W)").found(x.str());
  }
  if (w.rank() != 4) {
    throw HALFTONE_ERROR(op).expected("a weight of 4 axes (O, I, H, W)").found(w.str());
  }
  if (w[0] % groups != 0) {
    throw HALFTONE_ERROR(op)
        .expected("output channels that " + std::to_string(groups) + " groups divide")
        .found("weight " + channels_first(w));
  }
  if (w[3] * groups != x[3]) {
    throw HALFTONE_ERROR(op)
        .expected("an input of " + std::to_string(w[3] * groups) + " channels (weight " +
                  channels_first(w) + ", " + std::to_string(groups) + " groups)")
        .found("input " + channels_first(x));
  }
}

// Output extent of one axis; 0 or less when the kernel does not fit.
int64_t extent(int64_t in, int64_t kernel, int pad, int stride, int dilation) {
  const int64_t room = in + 2 * pad - dilation * (kernel - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

}  // namespace

namespace kernels {

std::string channels_first(const Shape& s) {
  return s.rank() == 4 ? Shape{s[0], s[3], s[1], s[2]}.str() : s.str();
}

ConvGeometry conv_geometry(const char* op, const Shape& x, const Shape& w, const Conv2dOptions& o) {
  check_options(op, o);
  check_channels(op, x, w, o.groups);
  ConvGeometry g{x[0], x[1], x[2], x[3], w[0], w[1], w[2], w[3], 0, 0, o};
  g.oh = extent(g.h, g.kh, o.pad_h, o.stride_h, o.dilation_h);
  g.ow = extent(g.w, g.kw, o.pad_w, o.stride_w, o.dilation_w);
  if (g.kh < 1 || g.kw < 1 || g.oh < 1 || g.ow < 1) {
    throw HALFTONE_ERROR(op)
        .expected("a kernel that fits into the padded input " + std::to_string(g.h + 2 * o.pad_h) +
                  " x " + std::to_string(g.w + 2 * o.pad_w))
        .found("weight " + channels_first(w) + " with dilation " + std::to_string(o.dilation_h) +
               " x " + std::to_string(o.dilation_w));
  }
  return g;
}

void check_conv_shape(const char* op, const char* what, const Tensor& tensor, const Shape& wanted) {
  if (tensor.shape() == wanted) return;
  throw HALFTONE_ERROR(op)
      .expected(std::string(what) + " " + channels_first(wanted))
      .found(channels_first(tensor.shape()));
}

}  // namespace kernels

Shape conv2d_shape(const Shape& x, const Shape& w, const Conv2dOptions& options) {
  const kernels::ConvGeometry g = kernels::conv_geometry("conv2d", x, w, options);
  return {g.n, g.oh, g.ow, g.o};
}

}  // namespace halftone
