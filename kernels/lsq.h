// Gradients of learned step sizes (LSQ) and offsets (LSQ+); the rule is in integer/lsq_math.h.
// Forward is fake_quantize of quantize.h on the same grids. float32.
#pragma once

#include <vector>

#include "kernels/integer/lsq_math.h"
#include "kernels/quantize.h"

namespace halftone::kernels {

// One pass over dy and x: dx = dy inside the range, else 0 (may be null; may be dy itself), and per
// grid ds = sum of dy (dy/ds). Without the papers' gradient scale (lsq_gradient_scale). Products in
// float, sums in double, in fixed chunks: the same bits for every thread count.
void lsq_backward(const Tensor& dy, const Tensor& x, const Grids& grids, quant_math::LsqEdge edge,
                  Tensor* dx, std::vector<double>& ds);

// The same for grids of lsq_plus_grid: ds at constant beta, and dbeta = sum of dy over the clipped
// elements. Minus scale times dbeta is the gradient of a real zero point at constant scale.
void lsq_plus_backward(const Tensor& dy, const Tensor& x, const Grids& grids,
                       quant_math::LsqEdge edge, Tensor* dx, std::vector<double>& ds,
                       std::vector<double>& dbeta);

}  // namespace halftone::kernels
