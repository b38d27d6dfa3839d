// Labels of the generated sets.
#pragma once

#include <array>
#include <numeric>
#include <utility>

#include "data/sample_random.h"

namespace halftone {

// One of ten: every ten samples in a row (from a multiple of ten) hold each label once, in a random
// order, so that any prefix is balanced.
inline int64_t balanced_label(uint64_t seed, uint64_t split, int64_t sample) {
  std::array<int64_t, 10> labels;
  std::iota(labels.begin(), labels.end(), int64_t{0});
  SampleRandom random(seed, split << 40 | static_cast<uint64_t>(sample / 10));
  for (int left = 10; left > 1; --left) {
    const size_t chosen = static_cast<size_t>(random.below(left));
    std::swap(labels[static_cast<size_t>(left - 1)], labels[chosen]);
  }
  return labels[static_cast<size_t>(sample % 10)];
}

}  // namespace halftone
