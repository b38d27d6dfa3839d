#include "kernels/matmul_shapes.h"

namespace halftone::kernels {
namespace {

struct Extents {
  int64_t rows, columns;
};

Extents flatten(const char* what, const Tensor& t) {
  if (t.rank() < 2) {
    throw HALFTONE_ERROR("matmul")
        .expected("a matrix")
        .found(std::string(what) + " of shape " + t.shape().str());
  }
  const int64_t columns = t.dim(-1);
  int64_t rows = 1;
  for (int axis = 0; axis + 1 < t.rank(); ++axis) rows *= t.dim(axis);
  return {rows, columns};
}

std::string describe(const char* name, const Tensor& t, bool transposed) {
  return std::string(name) + " " + t.shape().str() + (transposed ? " transposed" : "");
}

}  // namespace

MatmulProblem matmul_problem(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
                             float beta, const Tensor& c) {
  const Extents ea = flatten("a", a), eb = flatten("b", b), ec = flatten("c", c);
  const int64_t m = transpose_a ? ea.columns : ea.rows, k = transpose_a ? ea.rows : ea.columns;
  const int64_t kb = transpose_b ? eb.columns : eb.rows, n = transpose_b ? eb.rows : eb.columns;
  if (k != kb || ec.rows != m || ec.columns != n) {
    throw HALFTONE_ERROR("matmul")
        .expected("(M, K) times (K, N) into (M, N)")
        .found(describe("a", a, transpose_a) + ", " + describe("b", b, transpose_b) + ", " +
               describe("c", c, false));
  }
  return {m, n, k, transpose_a, transpose_b, beta};
}

}  // namespace halftone::kernels
