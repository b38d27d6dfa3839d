// Observers that stay on the device: the ranges of a batch are tracked, and scale and zero point
// set from them, without the host waiting.
#pragma once

#include <math.h>

#include "kernels/cuda/stream.h"
#include "kernels/cuda/walk.h"
#include "kernels/integer/quant_math.h"
#include "tensor/dtype.h"

namespace halftone::kernels::cuda {

// How tracked ranges take in those of a batch. The first batch sets them.
enum class Tracking : uint8_t {
  kEma,      // moving average
  kMinMax,   // smallest and largest ever seen
  kCurrent,  // the batch's own (weights)
};

struct ObserveArgs {
  ChannelLayout layout;
  DType dtype = DType::kFloat32;
  const void* x = nullptr;
  Tracking tracking = Tracking::kEma;
  double decay = 0.99;
  quant_math::GridRule rule;
  // State, per channel; low above high (inf, -inf at first): nothing seen yet.
  float* low = nullptr;
  float* high = nullptr;
  float* scale = nullptr;         // with zero_point: the grid of what is tracked then
  int32_t* zero_point = nullptr;  // both may be null
  // Set to 1 where a channel saw NaN, an infinity, or a magnitude above `largest`: it keeps its
  // range. The host looks when it likes.
  int32_t* not_finite = nullptr;
  float largest = INFINITY;
};
void observe(Stream& stream, const ObserveArgs& args);

// Adds the counts of x in `bins` equal parts of [low, high], which lie on the device
// (integer/histogram_math.h); others are not counted.
struct HistogramArgs {
  int64_t numel = 0;
  DType dtype = DType::kFloat32;
  const void* x = nullptr;
  const float* low = nullptr;
  const float* high = nullptr;
  int bins = 2048;  // at most 8192
  uint64_t* counts = nullptr;
};
void add_histogram(Stream& stream, const HistogramArgs& args);

// Widens a histogram that lies on the device, so that it holds a range, with the bits of
// update_histogram (kernels/histogram.h): one of exact counts over [-high, high]
// (SymmetricHistogram), or a RangeHistogram.
struct WidenHistogramArgs {
  int bins = 4096;  // divisible by 4, at most 4096
  int upsample = 128;
  const float* low = nullptr;  // to hold; low above high: nothing
  const float* high = nullptr;
  float* range = nullptr;            // 2: the ends of the histogram; empty at first: 0, 0, or 1, 0
  uint64_t* exact_counts = nullptr;  // either these
  float* counts = nullptr;           // or these
};
void widen_histogram(Stream& stream, const WidenHistogramArgs& args);

// counts += more, and more = 0.
struct MoveCountsArgs {
  int bins = 0;
  uint64_t* more = nullptr;
  float* counts = nullptr;
};
void move_counts(Stream& stream, const MoveCountsArgs& args);

#define HALFTONE_OBSERVE_KERNELS(K)      \
  K(observe, ObserveArgs)                \
  K(add_histogram, HistogramArgs)        \
  K(widen_histogram, WidenHistogramArgs) \
  K(move_counts, MoveCountsArgs)

}  // namespace halftone::kernels::cuda
