// How per-channel passes walk a (rows, C) array: as rows of `length` lanes, a multiple of C, so
// that the inner loop is long enough for vectors when C is small. Lane j belongs to channel j % C.
#pragma once

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "kernels/reduce.h"

namespace halftone::kernels {

struct Lanes {
  int64_t numel, channels, length, chunk;  // chunk: elements, a multiple of length

  Lanes(int64_t numel, int64_t channels) : numel(numel), channels(channels), length(channels) {
    if (channels == 0) length = 64;  // nothing to walk
    if (channels > 0 && channels < 64) {
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

// Writes row(at, width, to), which puts `width` values from element `at` on to `to`, for every row
// of lanes of [begin, end); `out` is where element 0 goes, not what row reads. A result that no
// cache would hold until it is read goes past it: its lines then need not be read first.
class LaneWriter {
 public:
  LaneWriter(const Lanes& lanes, float* out)
      : lanes_(lanes), out_(out), past_cache_(goes_past_cache()) {}

  template <class Row>
  void write(int64_t begin, int64_t end, Row row) const {
    if (!past_cache_) {
      for (int64_t at = begin; at < end; at += lanes_.length)
        row(at, std::min(lanes_.length, end - at), out_ + at);
      return;
    }
    alignas(64) float values[kMost];
    for (int64_t at = begin; at < end; at += lanes_.length) {
      const int64_t width = std::min(lanes_.length, end - at);
      row(at, width, values);
      stream(values, width, out_ + at);
    }
#ifdef __AVX2__
    _mm_sfence();
#endif
  }

 private:
  static constexpr int64_t kMost = 1024, kVector = 8;

  bool goes_past_cache() const {
    constexpr int64_t kFrom = int64_t{1} << 20;  // floats
    return lanes_.numel >= kFrom && lanes_.length <= kMost && lanes_.length % kVector == 0 &&
           reinterpret_cast<uintptr_t>(out_) % 32 == 0;
  }
  static void stream(const float* from, int64_t n, float* to) {
    int64_t i = 0;
#ifdef __AVX2__
    for (; i + kVector <= n; i += kVector) _mm256_stream_ps(to + i, _mm256_load_ps(from + i));
#endif
    for (; i < n; ++i) to[i] = from[i];
  }

  Lanes lanes_;
  float* out_;
  bool past_cache_;
};

}  // namespace halftone::kernels
