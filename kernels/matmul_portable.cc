#include <Eigen/Core>

#include "kernels/matmul_bodies.h"
#include "kernels/parallel.h"

namespace halftone::kernels {
namespace {

using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Stride = Eigen::OuterStride<>;
using Matrix = Eigen::Map<Rows, Eigen::Unaligned, Stride>;
using ConstMatrix = Eigen::Map<const Rows, Eigen::Unaligned, Stride>;

// Each band of c is one product, so that no sum depends on the thread count.
constexpr int64_t kBandRows = 32;

template <class A>
void multiply_band(const MatmulProblem& p, const A& a, const float* b, Matrix& c) {
  if (p.transpose_b) {
    c.noalias() += a * ConstMatrix(b, p.n, p.k, Stride(p.k)).transpose();
  } else {
    c.noalias() += a * ConstMatrix(b, p.k, p.n, Stride(p.n));
  }
}

}  // namespace

void portable_matmul(const Context& context, const MatmulProblem& p, const float* a, const float* b,
                     float* c) {
  const int64_t bands = (p.m + kBandRows - 1) / kBandRows;
  parallel_for(context, bands, 1, [&](int64_t begin, int64_t end) {
    for (int64_t band = begin; band < end; ++band) {
      const int64_t first = band * kBandRows, rows = std::min(kBandRows, p.m - first);
      Matrix out(c + first * p.n, rows, p.n, Stride(p.n));
      if (p.beta == 0.0f) {
        out.setZero();
      } else {
        out *= p.beta;
      }
      if (p.transpose_a) {
        multiply_band(p, ConstMatrix(a + first, p.k, rows, Stride(p.m)).transpose(), b, out);
      } else {
        multiply_band(p, ConstMatrix(a + first * p.k, rows, p.k, Stride(p.k)), b, out);
      }
    }
  });
}

}  // namespace halftone::kernels
