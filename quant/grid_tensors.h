// Grids that a device keeps to itself. Inside //quant only.
#pragma once

#include "kernels/cuda/grids.h"
#include "tensor/tensor.h"

namespace halftone {

struct GridTensors {
  Tensor scale;               // float32: one, or one per channel
  Tensor zero_point, offset;  // int32, or (LSQ+) float32; neither: zero point 0
  int32_t qmin = 0, qmax = 255;
  int32_t up = 0;  // codes of activations are stored this much higher

  // stored: for kernels that write codes as they are stored, or look at those.
  kernels::cuda::DeviceGrids pointers(bool stored = false) const {
    const auto of = [](const Tensor& t) { return t.defined() ? t.raw() : nullptr; };
    return {static_cast<const float*>(of(scale)),
            static_cast<const int32_t*>(of(zero_point)),
            static_cast<const float*>(of(offset)),
            qmin,
            qmax,
            stored ? up : 0};
  }
};

}  // namespace halftone
