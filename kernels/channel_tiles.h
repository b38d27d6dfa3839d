// Walking an array of (rows, channels) in vectors, however few channels there are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "kernels/parallel.h"

namespace halftone::kernels {

// Rows are taken together until a tile is wide enough to fill vectors: column j of a tile belongs
// to channel j % channels. Per-channel constants are repeated to the tile's width once.
struct ChannelTiles {
  // No chunk has more than `most_rows` rows of a tile's width.
  ChannelTiles(int64_t numel, int64_t channels, int64_t most_rows = INT64_MAX)
      : numel(numel),
        channels(channels),
        width(width_for(channels)),
        chunk(width * std::min(most_rows, std::max<int64_t>(1, wanted(numel) / width))),
        chunks((numel + chunk - 1) / chunk) {}

  template <class T>
  std::vector<T> repeat(const std::vector<T>& per_channel) const {
    std::vector<T> out;
    out.reserve(width);
    while (!per_channel.empty() && static_cast<int64_t>(out.size()) < width)
      out.insert(out.end(), per_channel.begin(), per_channel.end());
    return out;
  }

  // body(chunk, begin, end) for every chunk, in parallel; begin is a multiple of width.
  template <class Body>
  void for_chunks(const Context& context, Body body) const {
    parallel_for(context, chunks, 1, [&](int64_t first, int64_t last) {
      for (int64_t k = first; k < last; ++k) body(k, k * chunk, std::min(numel, (k + 1) * chunk));
    });
  }

  // body(c, j) for every column j of a tile, c its channel.
  template <class Body>
  void for_columns(Body body) const {
    for (int64_t at = 0; at < width; at += channels) {
      for (int64_t c = 0; c < channels; ++c) body(c, at + c);
    }
  }

  int64_t numel, channels, width, chunk, chunks;

 private:
  // Elements of a chunk, about: fixed by the size, so that reductions are too. Small tensors still
  // make chunks enough for several threads.
  static int64_t wanted(int64_t numel) {
    constexpr int64_t kLeast = 8192, kMost = 32768, kChunks = 16;
    return std::min(kMost, std::max(kLeast, numel / kChunks));
  }
  // A multiple of the vectors' lanes too, unless that is far away.
  static int64_t width_for(int64_t channels) {
    constexpr int64_t kEnough = 256, kLanes = 16;
    const int64_t whole = channels * (kLanes / std::gcd(channels, kLanes));
    const int64_t unit = std::max<int64_t>(1, whole <= 2 * kEnough ? whole : channels);
    return unit * std::max<int64_t>(1, kEnough / unit);
  }
};

}  // namespace halftone::kernels
