// Ranges, fake quantization, and values to codes and back. float32 and uint8 / int8.
#pragma once

#include <vector>

#include "kernels/integer/quant_math.h"
#include "tensor/codes.h"
#include "tensor/tensor.h"

namespace halftone::kernels {

// Grids of a tensor: one, or one per position on `axis` (of the layout in memory). All have the
// same qmin and qmax.
struct Grids {
  std::vector<quant_math::Grid> list;
  int axis = -1;  // -1: one grid for all
  quant_math::Rounding rounding = quant_math::Rounding::kOnnx;
};

struct Range {
  float low = 0, high = 0;
};

// Smallest and largest value: one range, or one per position on `axis`. A range that saw NaN is
// (NaN, NaN); one that saw nothing is (inf, -inf).
std::vector<Range> observe_ranges(const Tensor& x, int axis = -1);

// y = s * (quantize(x) - z).
void fake_quantize(const Tensor& x, const Grids& grids, Tensor& y);
// The codes truncated towards zero instead (NNI's NaiveQuantizer); zero points must be 0.
void fake_quantize_truncate(const Tensor& x, const Grids& grids, Tensor& y);
// dx = dy where the rounded code lies in the range, else 0 (straight through).
void fake_quantize_backward(const Tensor& dy, const Tensor& x, const Grids& grids, Tensor& dx);

// uint8 codes of the grid (one per tensor); qmin >= 0.
void quantize_to_codes(const Tensor& x, const quant_math::Grid& grid, quant_math::Rounding rounding,
                       Tensor& codes);
// y = fl(scale (code - zero_point)); uint8 or int8 codes.
void codes_to_reals(const Codes& codes, Tensor& y);
// y = codes where the mask is not 0, else `zero`; uint8, float32 mask.
void drop_codes(const Tensor& codes, const Tensor& mask, uint8_t zero, Tensor& y);
// y = code - zero_point, as float: exact operands for a float convolution.
void codes_to_integers(const Tensor& codes, int32_t zero_point, Tensor& y);

// Weight rows (axis 0) as integers around zero, code - zero point: `negated` rows change sign, then
// every integer is shifted left, so that narrow ones use the whole int8. What int8 does not hold
// is stored less its row's offset: -128 .. 127 must hold that.
struct WeightCodes {
  std::vector<quant_math::Grid> grids;  // one, or one per row
  std::vector<char> negated;            // one per row, or empty
  int shift = 0;
  std::vector<int32_t> offsets;  // one per row, or empty
};
void quantize_weights(const Tensor& w, const WeightCodes& options, Tensor& codes);  // int8
void weights_to_integers(const Tensor& codes, Tensor& y);                           // int8 -> float
// y = scales[row] * (code + offsets[row]); offsets may be empty.
void weights_to_reals(const Tensor& codes, const std::vector<float>& scales,
                      const std::vector<int32_t>& offsets, Tensor& y);

}  // namespace halftone::kernels
