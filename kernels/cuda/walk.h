// How the threads of a grid walk an array whose elements belong to channels. Two walks: rows (each
// row of one channel: per tensor, or channels outermost as in OHWI weights) and columns (channels
// innermost, as in NHWC activations). Element indices are 64-bit throughout.
#pragma once

#include <type_traits>

#include "kernels/cuda/pack.h"
#include "kernels/cuda/reduce.h"

namespace halftone::kernels::cuda {

// An array seen as (outer, channels, inner).
struct ChannelLayout {
  int64_t outer = 1, channels = 1, inner = 1;
  int64_t numel() const { return outer * channels * inner; }
};

struct PackShape {
  int width = 4, unroll = 4;
};

// Fixed, so that sums do not depend on the device's size; enough to fill any.
constexpr int kReduceBlocks = 4096;        // that walk rows
constexpr int kReduceColumnBlocks = 2048;  // that walk columns
constexpr int kColumnBlocks = 4096;        // without sums: few enough to keep constants
constexpr int kGroupPartials = 16384;      // that the last block of a group merges

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
// Totals (kPerElement of them) take the tiles after Op::kUnroll packs, or are the tiles.
template <int kPerElement, class Op, class Total>
HALFTONE_HD void walk_packs(const Op& op, int64_t i, int64_t stride, int64_t begin, int64_t end,
                            bool aligned, const typename Op::Constants* constants, Total* totals) {
  constexpr bool kDirect = std::is_same_v<typename Op::Tile, Total>;
  for (; i < end; i += Op::kUnroll * stride) {
    std::conditional_t<kDirect, Nothing, typename Op::Tile> fresh[kPerElement];
    typename Op::Tile* tiles;
    if constexpr (kDirect) {
      tiles = totals;
    } else {
      tiles = fresh;
    }
    const int64_t last = i + (Op::kUnroll - 1) * stride + Op::kWidth;
    if (aligned && i >= begin && last <= end) {
      Step<Op, true, kPerElement, kPerElement>::run(op, i, stride, begin, end, constants, tiles);
    } else {
      Step<Op, false, kPerElement, kPerElement>::run(op, i, stride, begin, end, constants, tiles);
    }
    if constexpr (!kDirect) {
      HALFTONE_UNROLL
      for (int j = 0; j < kPerElement; ++j) totals[j].take(fresh[j]);
    }
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
  HALFTONE_HD int64_t units() const { return static_cast<int64_t>(rows) * segments; }
  HALFTONE_HD int64_t blocks() const {  // one of nothing: a sum of nothing is written, too
    const int side_by_side = kThreads / lanes;
    return units() == 0 ? 1 : (units() + side_by_side - 1) / side_by_side;
  }
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
// that stays in its column meets the same channels again and again. A block takes `columns` columns
// of `chunk` rows, `rows` side by side.
struct ColumnsGeometry {
  int64_t numel = 0, start = 0, row_blocks = 0, chunk = 0;
  int channels = 1, period = 1, turns = 1;  // turns: of the channels in a period
  int columns = 1, rows = 1;
  int tiles = 1;  // blocks that share a row
  bool aligned = true;
  HALFTONE_HD int64_t blocks() const { return row_blocks * tiles; }
  // Blocks that hold shares of the same channels: those of a tile, or all.
  HALFTONE_HD int groups() const { return turns == 1 ? tiles : 1; }
  HALFTONE_HD int slots(int width) const { return period * width; }  // elements of a row
};

ColumnsGeometry columns_geometry(const ChannelLayout& layout, PackShape pack, int lead,
                                 bool reduces);

struct ColumnsPlace {
  bool any;
  int tile, column, row;  // column: within the period; row: within the block
  int64_t row_block, first, stride, end;
};

template <class Thread>
HALFTONE_HD ColumnsPlace columns_place(const Thread& t, const ColumnsGeometry& g, int width) {
  ColumnsPlace p;
  p.tile = g.tiles == 1 ? 0 : static_cast<int>(t.block() % g.tiles);
  p.row_block = g.tiles == 1 ? t.block() : t.block() / g.tiles;
  p.row = t.index() / g.columns;
  p.column = p.tile * g.columns + t.index() - p.row * g.columns;
  p.any = p.row < g.rows && p.column < g.period;
  const int64_t row_elements = static_cast<int64_t>(width) * g.period;
  p.first = g.start + (p.row_block * g.chunk + p.row) * row_elements +
            static_cast<int64_t>(p.column) * width;
  p.stride = g.rows * row_elements;
  p.end = smaller(g.numel, g.start + (p.row_block + 1) * g.chunk * row_elements);
  return p;
}

// Channel of an element of a row.
HALFTONE_HD int64_t column_channel(const ColumnsGeometry& g, int slot) {
  const int64_t channel = (g.start + slot) % g.channels;
  return channel < 0 ? channel + g.channels : channel;
}

}  // namespace halftone::kernels::cuda
