// One-bit values on a CUDA device; rules in integer/binary_math.h.
#pragma once

#include "kernels/cuda/stream.h"
#include "kernels/integer/binary_math.h"
#include "tensor/dtype.h"
#include "tensor/random.h"

namespace halftone::kernels::cuda {

struct SignArgs {
  int64_t numel = 0;
  DType dtype = DType::kFloat32;
  const void* x = nullptr;
  void* y = nullptr;        // +1 or -1; may be x
  bool stochastic = false;  // element i with random.uniform(i)
  Philox random;
};
void sign(Stream& stream, const SignArgs& args);

struct SignBackwardArgs {
  int64_t numel = 0;
  DType dtype = DType::kFloat32;
  quant_math::SignGradient rule = quant_math::SignGradient::kStraightThrough;
  const void* dy = nullptr;
  const void* x = nullptr;
  void* dx = nullptr;  // may be dy
};
void sign_backward(Stream& stream, const SignBackwardArgs& args);

}  // namespace halftone::kernels::cuda
