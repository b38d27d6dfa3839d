// All weight quantizers of a network in one launch. float32.
#pragma once

#include <vector>

#include "kernels/cuda/stream.h"
#include "kernels/integer/quant_math.h"

namespace halftone::kernels::cuda {

enum class WeightRule : uint8_t {
  kSign,   // y = sign(w)
  kAlpha,  // y = mean |w| of the row times sign(w); scale gets the mean (XNOR-Net), or, of the
           // whole, the mean and at least the floor (DoReFa of one bit)
  kGrid,   // fake quantization on the row's grid (LSQ)
  kRange,  // the same on the grid of the row's own range (QAT); scale and zero_point are written
  kTanh,   // DoReFa's of more bits, of the whole; integers on the grid of `scale`
};

// What is written: kSign has reals only.
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
  bool one_scale = false;                 // scale and zero_point are one for all rows
  bool whole = false;                     // kAlpha, kRange, kTanh: of all rows; with one_scale
  int bits = 0;                           // kTanh
  int32_t* zero_point = nullptr;          // rows; of kGrid null: 0
  quant_math::GridRule grid;              // kRange
  int32_t qmin = -127, qmax = 127;        // all but kRange
  const float* gamma = nullptr;           // rows; null: positive
  int shift = 0;
  // kRange, rows, may be null: the range, and 1 where one was not finite, which keeps its grid.
  float *range_low = nullptr, *range_high = nullptr;
  int32_t* not_finite = nullptr;
  // Rows and pieces of the segments before it, and its own pieces: weights_from.
  int64_t first_row = 0, first_piece = 0, pieces = 0;
};

// As many as a kernel's arguments hold: nothing of them has to lie on the device.
constexpr int kWeightSegments = 64;

// Weights that a block reduces, of a segment that is reduced as a whole.
constexpr int64_t kWeightPiece = 16384;

// A block takes a row: it looks for its segment, reduces where the rule wants it, and writes. Where
// that is a whole segment, blocks that take its pieces come first, and it waits for them.
struct QuantizeWeightsArgs {
  int64_t rows = 0, pieces = 0;  // the sums of the segments'
  int count = 0;                 // of segments
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
    s.first_row = args.rows, s.first_piece = args.pieces;
    s.pieces = s.whole ? (s.rows * s.length + kWeightPiece - 1) / kWeightPiece : 0;
    args.rows += s.rows, args.pieces += s.pieces;
  }
  return args;
}

}  // namespace halftone::kernels::cuda
