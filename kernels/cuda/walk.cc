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
  const int64_t rows = layout.outer * layout.channels;
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
                                 bool reduces) {
  if (layout.channels > (1 << 30)) {
    throw HALFTONE_ERROR("cuda")
        .expected("at most 2^30 channels")
        .found(std::to_string(layout.channels));
  }
  ColumnsGeometry g;
  g.numel = layout.numel();
  g.aligned = lead >= 0;
  g.start = lead > 0 ? lead - pack.width : 0;
  g.channels = static_cast<int>(layout.channels);
  g.period = g.channels / std::gcd(g.channels, pack.width);
  g.turns = g.slots(pack.width) / g.channels;
  // Sums over many rows, of few columns: 8 packs are a cache line.
  g.columns = reduces && g.turns == 1 && g.period > 16 ? 8 : std::min(g.period, kThreads);
  g.rows = kThreads / g.columns;
  const int step = 8 / std::gcd(g.columns, 8);  // rows that end where a cache line does
  if (g.rows > step) g.rows -= g.rows % step;
  g.tiles = static_cast<int>(divide_up(g.period, g.columns));
  const int64_t row_elements = static_cast<int64_t>(g.period) * pack.width;
  const int64_t rows = divide_up(g.numel - g.start, row_elements);
  const int64_t turn = static_cast<int64_t>(g.rows) * pack.unroll;
  int64_t most = (reduces ? kReduceColumnBlocks : kColumnBlocks) / g.tiles;
  if (reduces) {
    const int64_t partials = kGroupPartials * (g.turns == 1 ? 1 : 4);  // all tiles are one group
    most = std::min(most, partials / (row_elements / g.groups()));
  }
  g.chunk = divide_up(divide_up(rows, std::max<int64_t>(1, most)), turn) * turn;
  g.row_blocks = g.numel == 0 ? int64_t{reduces} : divide_up(rows, g.chunk);
  return g;
}

}  // namespace halftone::kernels::cuda
