// Matrix products of float32.
#pragma once

#include "tensor/tensor.h"

namespace halftone::kernels {

// c (M, N) = op(a) op(b) + beta * c; op transposes when asked. Leading axes of a are flattened into
// M.
void matmul(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, float beta,
            Tensor& c);

// Linear: y (N, out) = x (N, in) w^T + bias; w (out, in), bias (out) may be null.
void linear(const Tensor& x, const Tensor& w, const Tensor* bias, Tensor& y);
void linear_backward_data(const Tensor& dy, const Tensor& w, Tensor& dx);
void linear_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dw, Tensor* dbias);

namespace reference {
void matmul(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, float beta,
            Tensor& c);
}
}  // namespace halftone::kernels
