// The first grid of LSQ+.
#pragma once

#include "kernels/quantize.h"

namespace halftone {

// The grid with the smallest squared error over x (Bhalgat et al. 2020, section 3.2): its scale,
// and the real value of code 0. x holds no NaN; all zeros give a scale of 0.
struct AffineStart {
  float scale = 0, offset = 0;
};
// codes: qmin and qmax.
AffineStart affine_start(const Tensor& x, const quant_math::Grid& codes);

}  // namespace halftone
