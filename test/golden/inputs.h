// The inputs of the golden cases: a formula instead of stored numbers, so that any language can
// make them, and with any multiplier.
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace halftone::golden {

struct Inputs {
  double multiplier = 0.6180339887498949;

  // lo + (hi - lo) * frac((i + 1) * multiplier * k), i = 0, 1, ... row-major in PyTorch's layout;
  // left to right in double, then rounded to float32.
  std::vector<float> g(int64_t n, double lo, double hi, int k) const;
  // The same as a tensor whose shape is PyTorch's: (N, C, H, W), (O, I, kh, kw), (out, in), (n).
  Tensor tensor(const Context& context, const Shape& shape, double lo, double hi, int k) const;
  // The same as an activation in memory: (N, H, W, C) from (N, C, H, W); other ranks as they are.
  Tensor activation(const Context& context, const Shape& shape, double lo, double hi, int k) const;
};

// g of the multiplier that nni_golden.json was made with.
inline std::vector<float> inputs(int64_t n, double lo, double hi, int k) {
  return Inputs().g(n, lo, hi, k);
}

// (N, H, W, C) to (N, C, H, W) and back; other ranks as they are.
Tensor to_torch(const Tensor& x);
Tensor from_torch(const Tensor& x);
std::vector<float> torch_values(const Tensor& x);

}  // namespace halftone::golden
