// Bias gradients.
#pragma once

#include "tensor/tensor.h"

namespace halftone::kernels {

// out (C) = sum over rows of x (..., C), float32. Rows are summed in fixed chunks and the chunks
// in double, in order: the same bits for every thread count.
void column_sums(const Tensor& x, Tensor& out);

// sums (columns) += the sums over x (rows, columns), in float.
void add_column_sums(const float* x, int64_t rows, int64_t columns, float* sums);

}  // namespace halftone::kernels
