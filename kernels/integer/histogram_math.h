// Which part of a range a value falls into.
#pragma once

#include <math.h>
#include <stdint.h>

#include "kernels/integer/host_device.h"

namespace halftone::quant_math {

// `count` equal parts of [low, high]; the last includes high. In PyTorch's order of operations
// (histc). Outside, and for NaN: -1. All finite, low < high.
struct Bins {
  float low, high, count;
  HALFTONE_HD int of(float v) const {
    if (!(v >= low && v <= high)) return -1;
    const float at = (v - low) * count / (high - low);
    return static_cast<int>(at < count ? at : count - 1.0f);
  }
};

// Where low = high the range is [low - 1, high + 1].
HALFTONE_HD Bins bins_of(float low, float high, int count) {
  const float spread = low == high ? 1.0f : 0.0f;
  return {low - spread, high + spread, static_cast<float>(count)};
}

// How PyTorch 1.13's HistogramObserver widens a histogram to hold [low, high], in float as it does.
// The old range is a whole number of cells, `upsample` per old bin and `downsample` per new one,
// the first of them cell `start` of the new range; its high end is moved up to a whole number of
// cells per bin. Where one old cell is too small to count with, every old bin's count goes to the
// place of its centre (collapses).
struct Widening {
  float low, high;
  float old_low, old_high;
  bool collapses;
  int64_t upsample, downsample, start;
};

HALFTONE_HD Widening widening(float low, float high, float old_low, float old_high, int bins,
                              int upsample) {
  Widening w{low, high, old_low, old_high, true, upsample, 0, 0};
  const float old = old_high - old_low, parts = static_cast<float>(upsample);
  const float cells = ceilf((high - low) * parts / old);
  if (!(cells < 0x1p31f)) return w;
  const float excess = cells * old / parts - (high - low);
  const float start = nearbyintf((old_low - low) * static_cast<float>(bins) * parts / old);
  const float end = high + excess;
  w.collapses = false;
  w.downsample = static_cast<int64_t>(cells), w.start = static_cast<int64_t>(start);
  w.high = high < end ? end : high;
  return w;
}

// The count of bin k of the new range, in double, where the widening does not collapse.
HALFTONE_HD float spread_count(const float* old, int bins, const Widening& w, int64_t k) {
  const int64_t begin = k * w.downsample, end = begin + w.downsample;
  int64_t b = begin > w.start ? (begin - w.start) / w.upsample : 0;
  double cells = 0.0;
  for (; b < bins; ++b) {
    int64_t at = w.start + b * w.upsample, stop = at + w.upsample;
    if (k < bins - 1) {
      if (at >= end) break;
      stop = stop < end ? stop : end;
    }
    at = at < begin ? begin : at;
    if (stop > at) cells += static_cast<double>(old[b]) * static_cast<double>(stop - at);
  }
  return static_cast<float>(cells / static_cast<double>(w.upsample));
}

// Where old bin b goes in a widening that collapses.
HALFTONE_HD int collapsed_bin(int b, int bins, const Widening& w) {
  const double width = (static_cast<double>(w.old_high) - static_cast<double>(w.old_low)) /
                       static_cast<double>(bins);
  const double centre = static_cast<double>(w.old_low) + (static_cast<double>(b) + 0.5) * width;
  return Bins{w.low, w.high, static_cast<float>(bins)}.of(static_cast<float>(centre));
}

}  // namespace halftone::quant_math
