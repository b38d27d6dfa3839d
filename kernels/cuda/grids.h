// Grids that lie on the device, as a FakeQuantize module's state does.
#pragma once

#include "kernels/cuda/pack.h"
#include "kernels/integer/lsq_math.h"

namespace halftone::kernels::cuda {

// One scale per channel, and one zero point, or (LSQ+) one offset, or neither: zero point 0.
struct DeviceGrids {
  const float* scale = nullptr;
  const int32_t* zero_point = nullptr;
  const float* offset = nullptr;  // beta, the real value of code 0
  int32_t qmin = 0, qmax = 255;

  HALFTONE_HD quant_math::Grid at(int64_t channel) const {
    const float s = scale[channel];
    if (offset != nullptr) return quant_math::lsq_plus_grid(s, offset[channel], qmin, qmax);
    return {s, zero_point != nullptr ? zero_point[channel] : 0, qmin, qmax};
  }
};

}  // namespace halftone::kernels::cuda
