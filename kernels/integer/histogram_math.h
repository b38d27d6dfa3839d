// Which part of a range a value falls into.
#pragma once

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

}  // namespace halftone::quant_math
