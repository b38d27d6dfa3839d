#include "kernels/cuda/walk.h"

#include <algorithm>
#include <numeric>

namespace halftone::kernels::cuda {
namespace {

constexpr int64_t kMaxRows = 0xffffffff;

int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }

}  // namespace

RowsGeometry rows_geometry(const ChannelLayout& layout, PackShape pack, int lead, int64_t most) {
  const int64_t turn = static_cast<int64_t>(kThreads) * pack.width * pack.unroll;
  RowsGeometry g;
  g.length = layout.inner;
  g.lead = lead;
  while (g.lanes > 1 && (g.lanes / 2) * pack.width >= g.length) g.lanes /= 2;
  const int64_t rows = g.length > 0 ? layout.outer * layout.channels : 0;
  const int64_t cuts = most > 0 && rows > 0 ? std::max<int64_t>(1, most / rows) : g.length;
  g.segment = std::max(turn, round_up(divide_up(g.length, std::max<int64_t>(1, cuts)), turn));
  const int64_t segments = std::max<int64_t>(1, divide_up(g.length, g.segment));
  if (rows > kMaxRows || segments > kMaxRows || rows * segments > kMaxRows) {
    throw HALFTONE_ERROR("cuda")
        .expected("at most 2^32 - 1 rows of 4096 elements or less")
        .found(std::to_string(rows) + " rows of " + std::to_string(g.length));
  }
  g.rows = static_cast<uint32_t>(rows);
  g.channels = static_cast<uint32_t>(layout.channels);
  g.segments = static_cast<uint32_t>(segments);
  return g;
}

ColumnsGeometry columns_geometry(const ChannelLayout& layout, PackShape pack, int lead,
                                 int64_t most_blocks) {
  ColumnsGeometry g;
  g.numel = layout.numel();
  g.aligned = lead >= 0;
  g.start = lead > 0 ? lead - pack.width : 0;
  if (layout.channels > (1 << 30)) {
    throw HALFTONE_ERROR("cuda")
        .expected("at most 2^30 channels")
        .found(std::to_string(layout.channels));
  }
  g.channels = static_cast<int>(layout.channels);
  g.period = g.channels / std::gcd(g.channels, pack.width);
  g.rows = std::max(1, kThreads / g.period);
  g.tiles = static_cast<int>(divide_up(g.period, kThreads));
  const int64_t packs = divide_up(g.numel - g.start, pack.width);
  const int64_t turns =
      divide_up(divide_up(packs, g.period), static_cast<int64_t>(g.rows) * pack.unroll);
  g.row_blocks = std::min(turns, std::max<int64_t>(1, most_blocks / g.tiles));
  if (g.numel == 0) g.row_blocks = 0;
  return g;
}

}  // namespace halftone::kernels::cuda
