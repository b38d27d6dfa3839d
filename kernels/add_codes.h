// The sum of two tensors of codes that share a scale.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace halftone::kernels {

// t = (a - a_zero) + (b - b_zero), in steps of the scale.
struct CodeSum {
  int32_t a_zero = 0, b_zero = 0, y_zero = 0;
  int32_t low = 0, high = 255;  // of t: what the activation and the codes of y leave
  // Where a gradient passes: inside the activation, whose derivative is 0 at its kinks, and a code
  // of y.
  int32_t pass_low = 0, pass_high = 255;
};

struct SumRange {
  int32_t low, high;
};

// y = clamp(t, low, high) + y_zero; uint8, all of one shape. Returns the smallest and largest t.
SumRange add_codes(const Tensor& a, const Tensor& b, const CodeSum& sum, Tensor& y);
// dt = dy where pass_low <= t <= pass_high, else 0.
void add_codes_backward(const Tensor& dy, const Tensor& a, const Tensor& b, const CodeSum& sum,
                        Tensor& dt);
// The sum of dy times shares[qa + qb], of kCodeSums; the same bits for every thread count.
constexpr int32_t kCodeSums = 511;
double add_codes_weighted_sum(const Tensor& dy, const Tensor& a, const Tensor& b,
                              const std::vector<float>& shares);

}  // namespace halftone::kernels
