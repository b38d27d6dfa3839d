// Sums that initial scales are made from (LSQ: mean |x|; LSQ+: mean and deviation).
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace halftone::kernels {

// Over `count` values. Sums in double, in fixed chunks: the same bits for every thread count.
struct Moments {
  int64_t count = 0;
  double sum = 0, sum_magnitudes = 0, sum_squares = 0;
  double mean() const { return sum / static_cast<double>(count); }
  double mean_magnitude() const { return sum_magnitudes / static_cast<double>(count); }
  double deviation() const;  // population standard deviation
};

// Of a float32 tensor: one, or one per position on `axis`.
std::vector<Moments> moments(const Tensor& x, int axis = -1);

}  // namespace halftone::kernels
