// matmul.h on the CPU: checks, and the choice of a body.
#include "kernels/bfloat16.h"
#include "kernels/column_sums.h"
#include "kernels/device.h"
#include "kernels/matmul.h"
#include "kernels/matmul_shapes.h"
#include "kernels/parallel.h"

namespace halftone::kernels {
namespace {

void multiply(const MatmulProblem& p, DeviceMath math, const Tensor& a_values,
              const Tensor& b_values, Tensor& c_values) {
  const Context& context = a_values.context();
  const Tensor left = operand(a_values, math), right = operand(b_values, math);
  const float *a = left.data<float>(), *b = right.data<float>();
  float* c = c_values.data<float>();
  static const MatmulBody body = onednn_matmul() != nullptr ? onednn_matmul() : portable_matmul;
  if (p.m == 0 || p.n == 0) return;
  // An empty sum is a matter of beta alone, and sgemm would leave c as it is.
  (p.k == 0 ? portable_matmul : body)(context, p, a, b, c);
}

// Throws unless x (N, in), w (out, in), y (N, out).
void check_linear(const char* op, const Tensor& x, const Tensor& w, const Tensor& y) {
  if (w.rank() != 2) {
    throw HALFTONE_ERROR(op).expected("a weight of 2 axes (out, in)").found(w.shape().str());
  }
  if (x.rank() != 2 || x.dim(1) != w.dim(1)) {
    throw HALFTONE_ERROR(op)
        .expected("an input of shape [N, " + std::to_string(w.dim(1)) + "] (weight " +
                  w.shape().str() + ")")
        .found(x.shape().str());
  }
  const Shape wanted{x.dim(0), w.dim(0)};
  if (y.shape() != wanted) {
    throw HALFTONE_ERROR(op).expected("an output of shape " + wanted.str()).found(y.shape().str());
  }
}

void check_bias(const char* op, const Tensor* bias, int64_t out) {
  if (bias != nullptr && bias->shape() != Shape{out}) {
    throw HALFTONE_ERROR(op)
        .expected("a bias of shape " + Shape{out}.str())
        .found(bias->shape().str());
  }
}

void fill_rows(const Context& context, const float* bias, int64_t rows, int64_t columns, float* y) {
  parallel_for(context, rows, 1 + 16384 / std::max<int64_t>(1, columns),
               [=](int64_t begin, int64_t end) {
                 for (int64_t r = begin; r < end; ++r) std::copy_n(bias, columns, y + r * columns);
               });
}

}  // namespace

void matmul(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, float beta,
            Tensor& c) {
  const MatmulProblem p = matmul_problem(a, transpose_a, b, transpose_b, beta, c);
  HALFTONE_ON_DEVICE(matmul, a, a, transpose_a, b, transpose_b, beta, c);
  multiply(p, a.context().math(), a, b, c);
}

void linear(const Tensor& x, const Tensor& w, const Tensor* bias, Tensor& y) {
  check_linear("linear", x, w, y);
  check_bias("linear", bias, w.dim(0));
  HALFTONE_ON_DEVICE(linear, x, x, w, bias, y);
  const int64_t n = x.dim(0), out = w.dim(0);
  if (n == 0) return;
  float beta = 0.0f;
  if (bias != nullptr) {
    fill_rows(x.context(), bias->data<float>(), n, out, y.data<float>());
    beta = 1.0f;
  }
  multiply({n, out, x.dim(1), false, true, beta}, x.context().math(), x, w, y);
}

void linear_backward_data(const Tensor& dy, const Tensor& w, Tensor& dx) {
  check_linear("linear_backward_data", dx, w, dy);
  HALFTONE_ON_DEVICE(linear_backward_data, dy, dy, w, dx);
  multiply({dx.dim(0), dx.dim(1), w.dim(0), false, false, 0.0f}, dy.context().backward_math(), dy,
           w, dx);
}

void linear_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dw, Tensor* dbias) {
  check_linear("linear_backward_weight", x, dw, dy);
  check_bias("linear_backward_weight", dbias, dw.dim(0));
  HALFTONE_ON_DEVICE(linear_backward_weight, x, x, dy, dw, dbias);
  multiply({dw.dim(0), dw.dim(1), x.dim(0), true, false, 0.0f}, x.context().backward_math(), dy, x,
           dw);
  if (dbias != nullptr) column_sums(dy, *dbias);
}

}  // namespace halftone::kernels
