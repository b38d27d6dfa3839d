// All weight quantizers of a network in one launch. float32.
#pragma once

#include <vector>

#include "kernels/cuda/stream.h"
#include "kernels/integer/quant_math.h"

namespace halftone::kernels::cuda {

enum class WeightRule : uint8_t {
  kSign,   // y = sign(w)
  kAlpha,  // y = mean |w| of the row times sign(w); scale gets the mean (XNOR-Net)
  kGrid,   // fake quantization on the row's grid (LSQ)
  kRange,  // the same on the grid of the row's own range (QAT); scale and zero_point are written
};

// What kGrid and kRange write.
enum class WeightResult : uint8_t {
  kReals,
  kIntegers,  // (code - zero point) 2^shift as floats, negated where gamma is negative
  kParts,     // and these as y = 16 high + low, |low| <= 8, in three arrays
};

// One weight: rows of `length` values, a grid each.
struct WeightSegment {
  WeightRule rule = WeightRule::kSign;
  WeightResult result = WeightResult::kReals;
  int64_t rows = 0, length = 0;
  const float* w = nullptr;
  float* y = nullptr;
  float *high = nullptr, *low = nullptr;  // kParts
  float* scale = nullptr;                 // rows; not read nor written by kSign
  bool one_scale = false;                 // kGrid: scale and zero_point are one for all rows
  int32_t* zero_point = nullptr;          // rows; of kGrid null: 0
  quant_math::GridRule grid;              // kRange
  int32_t qmin = -127, qmax = 127;        // kGrid
  const float* gamma = nullptr;           // rows; null: positive
  int shift = 0;
  // kRange, rows, may be null: the range, and 1 where one was not finite, which keeps its grid.
  float *range_low = nullptr, *range_high = nullptr;
  int32_t* not_finite = nullptr;
  int64_t first_row = 0;  // rows of the segments before it: weights_from
};

// As many as a kernel's arguments hold: nothing of them has to lie on the device.
constexpr int kWeightSegments = 64;

// `first_row` filled in; `rows` is the sum of theirs. A block takes a row: it looks for its
// segment, reduces where the rule wants it, and writes.
struct QuantizeWeightsArgs {
  int64_t rows = 0;
  int count = 0;  // of segments
  WeightSegment segments[kWeightSegments];
};
void quantize_weights(Stream& stream, const QuantizeWeightsArgs& args);

#define HALFTONE_WEIGHT_KERNELS(K) K(quantize_weights, QuantizeWeightsArgs)

// Arguments for up to kWeightSegments segments from `first` on.
inline QuantizeWeightsArgs weights_from(const std::vector<WeightSegment>& segments, size_t first) {
  QuantizeWeightsArgs args;
  for (size_t i = first; i < segments.size() && args.count < kWeightSegments; ++i) {
    WeightSegment& s = args.segments[args.count++];
    s = segments[i];
    s.first_row = args.rows;
    args.rows += s.rows;
  }
  return args;
}

}  // namespace halftone::kernels::cuda
