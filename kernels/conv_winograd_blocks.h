// Blocks of tiles, for Winograd's bodies.
#pragma once

#include <algorithm>

#include "kernels/conv_winograd.h"

namespace halftone::kernels {

// The tiles over the outputs of all images, in one sequence.
struct WinogradGrid {
  WinogradGrid(int64_t images, int64_t rows, int64_t columns)
      : tile_rows((rows + kWinogradTile - 1) / kWinogradTile),
        tile_columns((columns + kWinogradTile - 1) / kWinogradTile),
        tiles(images * tile_rows * tile_columns) {}
  int64_t tile_rows, tile_columns;  // of an image
  int64_t tiles;
};

// Adjacent tiles of one row of tiles.
struct WinogradRun {
  int64_t image, y, x;    // of the first output
  int64_t tiles, before;  // in the block
};

// Calls f(run) for the runs of the tiles [begin, end).
template <class F>
void for_winograd_runs(const WinogradGrid& grid, int64_t begin, int64_t end, F f) {
  for (int64_t at = begin; at < end;) {
    const int64_t row = at / grid.tile_columns, column = at % grid.tile_columns;
    const int64_t tiles = std::min(grid.tile_columns - column, end - at);
    f(WinogradRun{row / grid.tile_rows, row % grid.tile_rows * kWinogradTile,
                  column * kWinogradTile, tiles, at - begin});
    at += tiles;
  }
}

// How a block of transformed tiles lies in memory: positions, vectors of channels, tiles, lanes.
struct WinogradBlock {
  WinogradBlock(int64_t tiles, int64_t channels, int64_t lanes)
      : lanes(lanes),
        next_vector(tiles * lanes),
        // A further line, so that the positions of a tile are not all in one set of the cache.
        next_position(channels / lanes * next_vector + 16) {}
  int64_t floats() const { return kWinogradPositions * next_position; }

  int64_t lanes, next_vector, next_position;
};

// Images that a transform reads, with zeros around them.
struct WinogradImages {
  const float* values;
  int64_t height, width, channels;
  int64_t top, left;   // zeros before the first tile's pixels
  const float* zeros;  // (width, channels)
};

// Transforms tiles [begin, end) of `side` rows of pixels.
inline void transform_tiles(void (*transform)(const WinogradInput&), int64_t side,
                            const WinogradImages& x, const WinogradGrid& grid, int64_t begin,
                            int64_t end, const WinogradBlock& block, float* to) {
  for_winograd_runs(grid, begin, end, [&](const WinogradRun& run) {
    WinogradInput job{};
    for (int64_t r = 0; r < side; ++r) {
      const int64_t y = run.y - x.top + r;
      const bool inside = y >= 0 && y < x.height;
      job.rows[r] = inside ? x.values + (run.image * x.height + y) * x.width * x.channels : x.zeros;
    }
    job.column = run.x - x.left;
    job.width = x.width;
    job.channels = x.channels;
    job.tiles = run.tiles;
    job.to = to + run.before * block.lanes;
    job.next_position = block.next_position;
    job.next_vector = block.next_vector;
    transform(job);
  });
}

}  // namespace halftone::kernels
