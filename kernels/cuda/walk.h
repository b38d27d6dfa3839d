// How the threads of a grid walk an array whose elements belong to channels. Two walks: rows (each
// row of one channel: per tensor, or channels outermost as in OHWI weights) and columns (channels
// innermost, as in NHWC activations). Element indices are 64-bit throughout.
#pragma once

#include "kernels/cuda/pack.h"
#include "kernels/cuda/thread.h"

namespace halftone::kernels::cuda {

// An array seen as (outer, channels, inner).
struct ChannelLayout {
  int64_t outer = 1, channels = 1, inner = 1;
  int64_t numel() const { return outer * channels * inner; }
};

struct PackShape {
  int width = 4, unroll = 4;
};

constexpr int kReduceBlocks = 1024;  // fixed: sums do not depend on the device's size
constexpr int kColumnBlocks = 4096;  // enough to fill any device, few enough to keep constants

// A pass over one pack with the constants of its elements. Op:
//   kWidth, kUnroll               elements of a pack; packs that a thread loads ahead
//   Constants constants(channel)  of the elements of a channel
//   Input, load(access, input);  Output, store(access, output)
//   apply(j, input, constants, output, tile)   element j; Tile takes what it contributes to a sum
template <class Op, bool kWhole, int kConstants, int kTiles>
struct Step {
  using Place = Access<Op::kWidth, kWhole>;

  // kUnroll packs, `stride` elements apart. Whole ones are all loaded first; of others those count
  // that begin below `end`.
  static HALFTONE_HD void run(const Op& op, int64_t i, int64_t stride, int64_t begin, int64_t end,
                              const typename Op::Constants* constants, typename Op::Tile* tiles) {
    if constexpr (kWhole) {
      typename Op::Input in[Op::kUnroll];
      HALFTONE_UNROLL
      for (int u = 0; u < Op::kUnroll; ++u) op.load(Place{i + u * stride, 0, Op::kWidth}, in[u]);
      HALFTONE_UNROLL
      for (int u = 0; u < Op::kUnroll; ++u) {
        finish(op, Place{i + u * stride, 0, Op::kWidth}, in[u], constants, tiles);
      }
    } else {
      const int64_t stop = smaller(end, i + Op::kUnroll * stride);
      for (; i < stop; i += stride) {
        typename Op::Input in;
        op.load(place(i, begin, end), in);
        finish(op, place(i, begin, end), in, constants, tiles);
      }
    }
  }

  static HALFTONE_HD Place place(int64_t i, int64_t begin, int64_t end) {
    const int from = i < begin ? static_cast<int>(begin - i) : 0;
    const int to = end - i < Op::kWidth ? static_cast<int>(end - i) : Op::kWidth;
    return {i, from, to};
  }

  static HALFTONE_HD void finish(const Op& op, const Place& at, const typename Op::Input& in,
                                 const typename Op::Constants* constants,
                                 typename Op::Tile* tiles) {
    typename Op::Output out;
    HALFTONE_UNROLL
    for (int j = 0; j < Op::kWidth; ++j) {
      if (at.has(j)) {
        op.apply(j, in, constants[kConstants > 1 ? j : 0], out, tiles[kTiles > 1 ? j : 0]);
      }
    }
    op.store(at, out);
  }
};

// Packs i, i + stride, ... of [begin, end): whole ones where they are aligned, else by element.
// take() empties the tiles after Op::kUnroll packs.
template <int kPerElement, class Op, class Take>
HALFTONE_HD void walk_packs(const Op& op, int64_t i, int64_t stride, int64_t begin, int64_t end,
                            bool aligned, const typename Op::Constants* constants,
                            const Take& take) {
  for (; i < end; i += Op::kUnroll * stride) {
    typename Op::Tile tiles[kPerElement];
    const int64_t last = i + (Op::kUnroll - 1) * stride + Op::kWidth;
    if (aligned && i >= begin && last <= end) {
      Step<Op, true, kPerElement, kPerElement>::run(op, i, stride, begin, end, constants, tiles);
    } else {
      Step<Op, false, kPerElement, kPerElement>::run(op, i, stride, begin, end, constants, tiles);
    }
    take(tiles);
  }
}

// ---- rows ----

// Rows of `length` elements; row r is of channel r % channels. A row is cut into segments, and
// `lanes` threads (a power of two) walk a segment: short rows share a block.
struct RowsGeometry {
  int64_t length = 0, segment = 0;
  uint32_t rows = 1, channels = 1, segments = 1;
  int lanes = kThreads;
  int lead = 0;  // of the first aligned element; -1: none
  int64_t units() const { return static_cast<int64_t>(rows) * segments; }
  int64_t blocks() const { return divide_up(units(), kThreads / lanes); }
};

// `most`: units at most, as far as rows allow (of reductions, whose partial results are kept); 0:
// any number.
RowsGeometry rows_geometry(const ChannelLayout& layout, PackShape pack, int lead, int64_t most);

// What a thread of a rows walk is at.
struct RowsPlace {
  bool any;
  uint32_t unit, channel;
  int lane;
  int64_t begin, end, first;  // first: where this thread's first pack starts, maybe before begin
};

template <class Thread>
HALFTONE_HD RowsPlace rows_place(const Thread& t, const RowsGeometry& g, int width) {
  RowsPlace p;
  p.lane = t.index() & (g.lanes - 1);
  const int64_t unit = t.block() * (kThreads / g.lanes) + t.index() / g.lanes;
  p.unit = static_cast<uint32_t>(unit);
  p.any = unit < static_cast<int64_t>(g.rows) * g.segments;
  const uint32_t row = g.rows == 1 ? 0 : p.unit / g.segments;
  const uint32_t segment = g.rows == 1 ? p.unit : p.unit - row * g.segments;
  p.channel = g.channels == 1 ? 0 : row % g.channels;
  const int64_t row_begin = row * g.length;
  p.begin = row_begin + segment * g.segment;
  p.end = smaller(p.begin + g.segment, row_begin + g.length);
  // Down to the last aligned element not above begin.
  const int64_t off = g.lead < 0 ? 0 : (p.begin - g.lead) & (width - 1);
  p.first = p.begin - off + static_cast<int64_t>(p.lane) * width;
  return p;
}

// ---- columns ----

// Elements are seen as packs from `start` (at most 0) on; pack v stands in column v % period, where
// the period is the least number of packs that is a whole number of channels' turns. So a thread
// that stays in its column meets the same channels again and again.
struct ColumnsGeometry {
  int64_t numel = 0, start = 0, row_blocks = 0;
  int channels = 1, period = 1;
  int rows = 1;   // rows of packs that a block takes side by side
  int tiles = 1;  // blocks that share a row of packs
  bool aligned = true;
  int64_t blocks() const { return row_blocks * tiles; }
  HALFTONE_HD int slots(int width) const {
    return period * width;
  }  // column and element of the pack
};

ColumnsGeometry columns_geometry(const ChannelLayout& layout, PackShape pack, int lead,
                                 int64_t most_blocks);

struct ColumnsPlace {
  bool any;
  int column, row;  // row: within the block
  int64_t row_block, first, stride;
};

template <class Thread>
HALFTONE_HD ColumnsPlace columns_place(const Thread& t, const ColumnsGeometry& g, int width) {
  ColumnsPlace p;
  const int64_t tile = g.tiles == 1 ? 0 : t.block() % g.tiles;
  p.row_block = g.tiles == 1 ? t.block() : t.block() / g.tiles;
  p.row = g.tiles == 1 ? t.index() / g.period : 0;
  p.column = static_cast<int>(tile * kThreads) + t.index() - p.row * g.period;
  p.any = p.row < g.rows && p.column < g.period;
  const int64_t pack_row = p.row_block * g.rows + p.row;
  const int64_t packs = static_cast<int64_t>(width) * g.period;
  p.first = g.start + pack_row * packs + static_cast<int64_t>(p.column) * width;
  p.stride = g.row_blocks * g.rows * packs;
  return p;
}

// Channel of element j of the packs in a column. start > -width.
HALFTONE_HD int column_channel(const ColumnsGeometry& g, int width, int column, int j) {
  const int64_t i = g.start + static_cast<int64_t>(column) * width + j;
  return static_cast<int>((i + static_cast<int64_t>(width) * g.channels) % g.channels);
}

}  // namespace halftone::kernels::cuda
