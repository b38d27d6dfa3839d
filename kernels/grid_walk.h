// How a pass over values and their grids walks: in pieces whose bounds follow from the shape alone,
// so that sums over them have the same bits for every thread count.
#pragma once

#include <vector>

#include "kernels/parallel.h"
#include "kernels/quant_bodies.h"
#include "kernels/quantize.h"

namespace halftone::kernels {

struct GridWalk {
  // Throws unless there is one grid, or one per position on the axis.
  GridWalk(const char* op, const Tensor& x, int axis, size_t grids);

  // body(piece, channel, begin, end): elements of one channel; when tiled, whole tiles (the last
  // one may be cut) whose column j belongs to channel j % channels. Each piece on one thread.
  template <class Body>
  void for_pieces(const Context& context, Body body) const {
    const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, piece));
    parallel_for(context, pieces, grain, [&](int64_t first, int64_t last) {
      for (int64_t p = first; p < last; ++p) {
        const int64_t run = p / parts, begin = run * inner + p % parts * piece;
        body(p, run % channels, begin, std::min((run + 1) * inner, begin + piece));
      }
    });
  }
  // Channel of piece p when not tiled.
  int64_t channel(int64_t p) const { return p / parts % channels; }

  bool tiled = false;                    // the axis is the innermost one
  int64_t channels = 1;                  // grids
  int64_t inner = 1;                     // elements of one run: of one grid, or all when tiled
  int64_t width = 1;                     // columns of a tile, a multiple of the channels
  int64_t piece = 1, parts = 1, pieces;  // elements of a piece, pieces of a run, pieces of all
};

// Reduces every piece of x by itself: partial.set(p, block) names where the results of piece p go.
template <class Partial>
void reduce_pieces(const Tensor& x, const GridWalk& walk, void (*body)(const ReduceBlock&),
                   Partial& partial) {
  ReduceBlock block{};
  block.x = x.data<float>();
  block.stream = streams(block.x, x.numel() * 4);
  block.period = walk.tiled ? walk.width : 0;
  walk.for_pieces(x.context(), [&](int64_t p, int64_t, int64_t begin, int64_t end) {
    ReduceBlock b = block;
    b.begin = begin;
    b.end = end;
    partial.set(p, b);
    body(b);
  });
}

// Constants of grids as QuantBlock wants them: by channel, or by column of a tile.
class GridColumns {
 public:
  enum class Rule { kOnnx, kNni, kLsq, kLsqPlus };
  GridColumns(const GridWalk& walk, const Grids& grids, Rule rule);
  // Sets the block's elements and constants.
  void set(const GridWalk& walk, int64_t channel, int64_t begin, int64_t end, QuantBlock& b) const;

 private:
  std::vector<float> scale_, low_, high_, zero_point_, below_, above_;
};

}  // namespace halftone::kernels
