// Walking an array of (rows, channels) in vectors, however few channels there are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/parallel.h"

namespace halftone::kernels {

// Rows are taken together until a tile is wide enough to fill vectors: column j of a tile belongs
// to channel j % channels. Per-channel constants are repeated to the tile's width once.
struct ChannelTiles {
  static constexpr int64_t kEnough = 64;
  static constexpr int64_t kChunk = 32768;  // elements, about: fixed, so that reductions are too

  ChannelTiles(int64_t numel, int64_t channels)
      : numel(numel),
        channels(channels),
        width(channels * std::max<int64_t>(1, (kEnough + channels - 1) / channels)),
        chunk(width * std::max<int64_t>(1, kChunk / width)),
        chunks((numel + chunk - 1) / chunk) {}

  template <class T>
  std::vector<T> repeat(const std::vector<T>& per_channel) const {
    std::vector<T> out(width);
    for (int64_t j = 0; j < width; ++j) out[j] = per_channel[j % channels];
    return out;
  }

  // body(chunk, begin, end) for every chunk, in parallel; begin is a multiple of width.
  template <class Body>
  void for_chunks(const Context& context, Body body) const {
    parallel_for(context, chunks, 1, [&](int64_t first, int64_t last) {
      for (int64_t k = first; k < last; ++k) body(k, k * chunk, std::min(numel, (k + 1) * chunk));
    });
  }

  int64_t numel, channels, width, chunk, chunks;
};

// body(i, j): element i, which stands in column j of its tile.
template <class Body>
inline void for_elements(const ChannelTiles& tiles, int64_t begin, int64_t end, Body body) {
  for (int64_t i = begin; i < end; i += tiles.width) {
    const int64_t n = std::min(tiles.width, end - i);
    for (int64_t j = 0; j < n; ++j) body(i + j, j);
  }
}

}  // namespace halftone::kernels
