#include "kernels/grid_walk.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kPiece = 32768;  // elements, about

}  // namespace

GridWalk::GridWalk(const char* op, const Tensor& x, int axis, size_t grids) {
  int64_t outer = 1;
  if (axis < 0) {
    inner = x.numel();
  } else {
    for (int a = 0; a < x.rank(); ++a)
      (a < axis ? outer : a == axis ? channels : inner) *= x.dim(a);
  }
  if (static_cast<int64_t>(grids) != channels) {
    throw HALFTONE_ERROR(op)
        .expected(std::to_string(channels) + " scales")
        .found(std::to_string(grids));
  }
  piece = std::min(kPiece, std::max<int64_t>(inner, 1));
  if (inner == 1 && channels > 1) {
    tiled = true;
    width = channels * std::max<int64_t>(1, kBlock / channels);
    piece = width * std::max<int64_t>(1, kPiece / width);
    inner = x.numel();
    outer = 1;
  }
  parts = (inner + piece - 1) / piece;
  pieces = x.numel() == 0 ? 0 : (tiled ? parts : outer * channels * parts);
}

GridColumns::GridColumns(const GridWalk& walk, const Grids& grids) {
  const int64_t columns = walk.tiled ? walk.width : walk.channels;
  for (int64_t j = 0; j < columns; ++j) {
    const quant_math::Grid& g = grids.list[j % walk.channels];
    scale.push_back(g.scale);
    low.push_back(static_cast<float>(g.qmin - g.zero_point));
    high.push_back(static_cast<float>(g.qmax - g.zero_point));
    zero_point.push_back(g.zero_point);
  }
}

}  // namespace halftone::kernels
