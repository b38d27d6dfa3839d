// The numbers of one convolution, checked once, as all its bodies want them.
#pragma once

#include "kernels/conv.h"

namespace halftone::kernels {

struct ConvGeometry {
  int64_t n, h, w, c;     // x (n, h, w, c)
  int64_t o, kh, kw, cg;  // w (o, kh, kw, cg), cg = c / groups
  int64_t oh, ow;         // y (n, oh, ow, o)
  Conv2dOptions options;

  int64_t og() const { return o / options.groups; }
  int64_t pixels() const { return oh * ow; }     // per image
  int64_t taps() const { return kh * kw * cg; }  // products per output
};

// Throws, in NCHW / OIHW terms, unless x, w and options make a convolution; `op` names the caller.
ConvGeometry conv_geometry(const char* op, const Shape& x, const Shape& w,
                           const Conv2dOptions& options);

// Throws unless the tensor has this shape; 4 extents are printed as NCHW. `what` names it.
void check_conv_shape(const char* op, const char* what, const Tensor& tensor, const Shape& wanted);

// "[N, C, H, W]" of an NHWC shape, "[O, I, H, W]" of an OHWI one; other ranks as they are.
std::string channels_first(const Shape& shape);

}  // namespace halftone::kernels
