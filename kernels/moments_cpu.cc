#include <cmath>

#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/grid_walk.h"
#include "kernels/moments.h"

namespace halftone::kernels {
namespace {

// Sums of every piece, by column of a tile or by lane.
struct Partial {
  Partial(const GridWalk& walk)
      : columns(walk.tiled ? walk.width : kQuantLanes),
        sum(walk.pieces * columns),
        magnitudes(sum.size()),
        squares(sum.size()) {}
  void set(int64_t piece, ReduceBlock& b) {
    b.sum = &sum[piece * columns];
    b.sum_magnitudes = &magnitudes[piece * columns];
    b.sum_squares = &squares[piece * columns];
  }
  int64_t columns;
  std::vector<double> sum, magnitudes, squares;
};

}  // namespace

double Moments::deviation() const {
  const double m = mean(), variance = sum_squares / static_cast<double>(count) - m * m;
  return variance > 0 ? std::sqrt(variance) : 0.0;
}

std::vector<Moments> moments(const Tensor& x, int axis) {
  check_dtype("moments", "input", x, DType::kFloat32);
  HALFTONE_ON_DEVICE(moments, x, x, axis);
  const size_t channels = axis < 0 ? 1 : static_cast<size_t>(x.dim(axis));
  const GridWalk walk("moments", x, axis, channels);
  Partial partial(walk);
  reduce_pieces(x, walk, quant_bodies().moments, partial);
  std::vector<Moments> out(channels);
  for (Moments& m : out) m.count = x.numel() / static_cast<int64_t>(channels);
  for (int64_t i = 0; i < walk.pieces * partial.columns; ++i) {
    const int64_t j = i % partial.columns;
    Moments& m = out[walk.tiled ? j % walk.channels : walk.channel(i / partial.columns)];
    m.sum += partial.sum[i];
    m.sum_magnitudes += partial.magnitudes[i];
    m.sum_squares += partial.squares[i];
  }
  return out;
}

}  // namespace halftone::kernels
