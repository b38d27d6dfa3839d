// Argument checks that the kernels share. Each throws an Error that names `op`.
#pragma once

#include <string>

#include "tensor/tensor.h"

namespace halftone::kernels {

void check_dtype(const char* op, const char* name, const Tensor& x, DType wanted);
// Same shape, both float32.
void check_same(const char* op, const Tensor& a, const Tensor& b);
void check_shape(const char* op, const char* name, const Tensor& x, const Shape& wanted);
void check_rank(const char* op, const char* name, const Tensor& x, int rank);
// An NHWC shape as PyTorch says it: (N, C, H, W).
std::string nchw_text(const Shape& nhwc);

}  // namespace halftone::kernels
