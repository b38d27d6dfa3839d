// How per-channel passes walk a (rows, C) array: as rows of `length` lanes, a multiple of C, so
// that the inner loop is long enough for vectors when C is small. Lane j belongs to channel j % C.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "kernels/reduce.h"

namespace halftone::kernels {

struct Lanes {
  int64_t numel, channels, length, chunk;  // chunk: elements, a multiple of length

  Lanes(int64_t numel, int64_t channels) : numel(numel), channels(channels), length(channels) {
    if (channels < 64) {
      length = channels * (16 / std::gcd(channels, int64_t{16}));
      while (length < 64) length *= 2;
    }
    // 64 KB of float32, so that a second look hits the L2 cache; never so few rows that adding
    // up the partial results costs more than the pass.
    chunk = length * std::max<int64_t>(32, 16384 / length);
  }
  int64_t chunks() const { return chunk_count(numel, chunk); }
  // Values of lane j in elements [begin, end), where begin is a multiple of length.
  int64_t count(int64_t begin, int64_t end, int64_t j) const {
    return (end - begin - j + length - 1) / length;
  }
  // table[j] = per_channel(j % C) for every lane.
  template <class Function>
  void fill(float* table, Function per_channel) const {
    for (int64_t c = 0; c < channels; ++c) table[c] = per_channel(c);
    for (int64_t j = channels; j < length; ++j) table[j] = table[j - channels];
  }
};

}  // namespace halftone::kernels
