// Operands of products in bfloat16.
#pragma once

#include "tensor/tensor.h"

namespace halftone::kernels {

// float32 `t` as a product under `math` multiplies it: itself, or a copy rounded to bfloat16 (to
// nearest, ties to even; NaN stays NaN), still as float32. On the CPU.
Tensor operand(const Tensor& t, DeviceMath math);

}  // namespace halftone::kernels
