// The bodies behind conv.h, one table each. They take checked geometry and non-empty tensors;
// conv_cpu.cc chooses among them, the test runs each against the reference.
#pragma once

#include "kernels/conv_geometry.h"

namespace halftone::kernels {

struct ConvBodies {
  void (*forward)(const ConvGeometry& g, const Tensor& x, const Tensor& w, const Tensor* bias,
                  Tensor& y);
  void (*backward_data)(const ConvGeometry& g, const Tensor& dy, const Tensor& w, Tensor& dx);
  void (*backward_weight)(const ConvGeometry& g, const Tensor& x, const Tensor& dy, Tensor& dw,
                          Tensor* dbias);
  // dx += the data gradient; null where the body can only overwrite.
  void (*add_backward_data)(const ConvGeometry& g, const Tensor& dy, const Tensor& w,
                            Tensor& dx) = nullptr;
};

// im2col and Eigen's matrix product: any shape, any machine.
const ConvBodies& portable_conv();

// Null when Halftone was built without oneDNN.
const ConvBodies* onednn_conv();

}  // namespace halftone::kernels
