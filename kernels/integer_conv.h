// Convolution and matrix product of codes: acc = sum (q_x - z_x) q_w, exact, in int32. Padding is
// the code of zero. On codes where the processor has AVX-512 VNNI; elsewhere on integer-valued
// float32 operands: every partial sum below 2^24 is an exact float in any order, and what may pass
// it is split into terms that do not.
#pragma once

#include <vector>

#include "kernels/conv.h"
#include "kernels/epilogue.h"
#include "tensor/codes.h"

namespace halftone::kernels {

// What is added to every code of a weight's row, so that it stands for integers that int8 does not
// hold (affine weights): one per row, or empty. sum (q_x - z_x) (w + offset) is the sum over w and
// offset times the sum of the window's q_x - z_x, which a filter of ones gives, one per group.
using RowOffsets = std::vector<int32_t>;

// No |acc| of output channel c (row c of the int8 codes) passes max |q_x - z_x| * sum |q_w|.
std::vector<int64_t> accumulator_bounds(const QuantParams& x, const Tensor& w,
                                        const RowOffsets& offsets = {});

// Bounds that the epilogue takes lie below: |acc + b_q| < 2^31 with |b_q| <= 2^30.
constexpr int64_t kAccumulatorLimit = int64_t{1} << 30;

// x uint8 (N, H, W, C), w int8 (O, kh, kw, C/groups), acc int32. Returns a bound of |acc|, the
// largest of the channels'; throws where it is not below kAccumulatorLimit. `statistics`, where
// given, are those of acc.
int64_t integer_conv2d(const Codes& x, const Tensor& w, const Conv2dOptions& options, Tensor& acc,
                       AccumulatorStatistics* statistics = nullptr, const RowOffsets& offsets = {});
// x uint8 (N, in), w int8 (out, in), acc int32 (N, out).
int64_t integer_linear(const Codes& x, const Tensor& w, Tensor& acc,
                       AccumulatorStatistics* statistics = nullptr, const RowOffsets& offsets = {});

}  // namespace halftone::kernels
