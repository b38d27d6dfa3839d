#include "kernels/grid_walk.h"

#include <numeric>
#include <string>

#include "kernels/integer/lsq_math.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kPiece = 32768;  // elements, at least about so many
constexpr int64_t kPieces = 128;   // about: few enough that adding up their sums costs nothing
constexpr int64_t kWidth = 256;    // columns of a tile: their constants stay in the first cache

// A multiple of the channels, and of the vectors' lanes unless that is far away.
int64_t tile_width(int64_t channels) {
  const int64_t whole = channels * (kQuantLanes / std::gcd(channels, kQuantLanes));
  const int64_t unit = std::max<int64_t>(1, whole <= 4 * kWidth ? whole : channels);
  return unit * std::max<int64_t>(1, kWidth / unit);
}

}  // namespace

GridWalk::GridWalk(const char* op, const Tensor& x, int axis, size_t grids) {
  int64_t outer = 1;
  if (axis < 0) {
    inner = x.numel();
  } else {
    for (int a = 0; a < x.rank(); ++a) {
      (a < axis ? outer : a == axis ? channels : inner) *= x.dim(a);
    }
  }
  if (static_cast<int64_t>(grids) != channels) {
    throw HALFTONE_ERROR(op)
        .expected(std::to_string(channels) + " scales")
        .found(std::to_string(grids));
  }
  const int64_t wanted = std::max(kPiece, x.numel() / kPieces);
  piece = std::max<int64_t>(1, std::min(wanted, inner));
  if (inner == 1 && channels > 1) {
    tiled = true;
    width = tile_width(channels);
    piece = width * std::max<int64_t>(1, wanted / width);
    inner = x.numel();
    outer = 1;
  }
  parts = (inner + piece - 1) / piece;
  pieces = x.numel() == 0 ? 0 : (tiled ? parts : outer * channels * parts);
}

GridColumns::GridColumns(const GridWalk& walk, const Grids& grids, Rule rule) {
  const int64_t columns = walk.tiled ? walk.width : walk.channels;
  const bool plus = rule == Rule::kLsqPlus, nni = rule == Rule::kNni;
  for (int64_t j = 0; j < columns; ++j) {
    const quant_math::Grid& g = grids.list[j % walk.channels];
    const quant_math::LsqRule r = plus ? quant_math::lsq_plus_rule(g) : quant_math::lsq_rule(g);
    scale_.push_back(g.scale);
    low_.push_back(nni ? static_cast<float>(g.qmin) : r.low);
    high_.push_back(nni ? static_cast<float>(g.qmax) : r.high);
    if (nni) zero_point_.push_back(static_cast<float>(g.zero_point));
    if (rule != Rule::kLsq && !plus) continue;
    below_.push_back(r.below);
    above_.push_back(r.above);
  }
}

void GridColumns::set(const GridWalk& walk, int64_t channel, int64_t begin, int64_t end,
                      QuantBlock& b) const {
  b.begin = begin;
  b.end = end;
  b.period = walk.tiled ? walk.width : 0;
  const int64_t at = walk.tiled ? 0 : channel;
  b.scale = scale_.data() + at;
  b.low = low_.data() + at;
  b.high = high_.data() + at;
  b.zero_point = zero_point_.data() + (zero_point_.empty() ? 0 : at);
  b.below = below_.data() + (below_.empty() ? 0 : at);
  b.above = above_.data() + (above_.empty() ? 0 : at);
}

}  // namespace halftone::kernels
