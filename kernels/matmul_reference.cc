// The oracle: the definition, with double accumulators.
#include "kernels/matmul_bodies.h"
#include "kernels/matmul_shapes.h"

namespace halftone::kernels::reference {

void matmul(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, float beta,
            Tensor& c) {
  const MatmulProblem p = matmul_problem(a, transpose_a, b, transpose_b, beta, c);
  const float *as = a.data<float>(), *bs = b.data<float>();
  float* cs = c.data<float>();
  for (int64_t i = 0; i < p.m; ++i) {
    for (int64_t j = 0; j < p.n; ++j) {
      double sum = beta == 0.0f ? 0.0 : static_cast<double>(beta) * cs[i * p.n + j];
      for (int64_t k = 0; k < p.k; ++k) {
        sum += static_cast<double>(as[transpose_a ? k * p.m + i : i * p.k + k]) *
               bs[transpose_b ? j * p.k + k : k * p.n + j];
      }
      cs[i * p.n + j] = static_cast<float>(sum);
    }
  }
}

}  // namespace halftone::kernels::reference
