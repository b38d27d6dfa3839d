// Checked extents of a matrix product.
#pragma once

#include "kernels/matmul_bodies.h"

namespace halftone::kernels {

// Leading axes of a are flattened; throws unless the extents agree.
MatmulProblem matmul_problem(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
                             float beta, const Tensor& c);

}  // namespace halftone::kernels
