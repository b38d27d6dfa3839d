// The bodies behind matmul.h; matmul_cpu.cc chooses, the test runs each against the reference.
#pragma once

#include "tensor/tensor.h"

namespace halftone::kernels {

// c (m, n) = op(a) op(b) + beta c, all row-major and dense; a is (m, k), or (k, m) when
// transposed, b is (k, n), or (n, k) when transposed.
struct MatmulProblem {
  int64_t m, n, k;
  bool transpose_a, transpose_b;
  float beta;
};

using MatmulBody = void (*)(const Context& context, const MatmulProblem& p, const float* a,
                            const float* b, float* c);

// Eigen, in fixed bands of c's rows.
void portable_matmul(const Context& context, const MatmulProblem& p, const float* a, const float* b,
                     float* c);

// Null when Halftone was built without oneDNN.
MatmulBody onednn_matmul();

}  // namespace halftone::kernels
