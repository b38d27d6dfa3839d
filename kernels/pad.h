// Borders around images.
#pragma once

#include "tensor/tensor.h"

namespace halftone::kernels {

// y (N, H + 2 pad_h, W + 2 pad_w, C) is x (N, H, W, C) in a frame of `value`. float32, or uint8
// codes with a whole value.
void pad_images(const Tensor& x, float value, Tensor& y);
// dx is what of dy lies inside the frame. float32.
void pad_images_backward(const Tensor& dy, Tensor& dx);

}  // namespace halftone::kernels
