// All weight quantizers of a network in one launch. float32.
#pragma once

#include <vector>

#include "kernels/cuda/stream.h"
#include "kernels/integer/quant_math.h"

namespace halftone::kernels::cuda {

enum class WeightRule : uint8_t {
  kSign,   // y = sign(w)
  kAlpha,  // y = mean |w| of the row times sign(w); scale gets the mean (XNOR-Net)
  kGrid,   // fake quantization on the row's grid: scale, zero point 0 (LSQ)
  kRange,  // the same on the grid of the row's own range (QAT); scale and zero_point are written
};

// One weight: rows of `length` values, a grid each.
struct WeightSegment {
  WeightRule rule = WeightRule::kSign;
  int64_t rows = 0, length = 0;
  const float* w = nullptr;
  float* y = nullptr;
  float* scale = nullptr;           // rows; not read nor written by kSign
  int32_t* zero_point = nullptr;    // rows; kRange only
  quant_math::GridRule grid;        // kRange
  int32_t qmin = -127, qmax = 127;  // kGrid
  int64_t first_row = 0;            // rows of the segments before it: number_rows
};

// `segments` lie on the device, `first_row` filled in; `rows` is the sum of theirs. A block takes a
// row: it looks for its segment, reduces where the rule wants it, and writes.
struct QuantizeWeightsArgs {
  int64_t rows = 0;
  int count = 0;  // of segments
  const WeightSegment* segments = nullptr;
};
void quantize_weights(Stream& stream, const QuantizeWeightsArgs& args);

#define HALFTONE_WEIGHT_KERNELS(K) K(quantize_weights, QuantizeWeightsArgs)

// Fills in first_row; returns the sum of the rows.
inline int64_t number_rows(std::vector<WeightSegment>& segments) {
  int64_t rows = 0;
  for (WeightSegment& s : segments) {
    s.first_row = rows;
    rows += s.rows;
  }
  return rows;
}

}  // namespace halftone::kernels::cuda
