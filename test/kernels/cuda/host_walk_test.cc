// Index arithmetic of the walks for arrays that no test could hold: threads of first, middle and
// last blocks are asked where they go; blocks must meet without gap or overlap.
#include <catch2/catch.hpp>

#include "kernels/cuda/walk.h"
#include "test/kernels/cuda/values.h"

using namespace halftone;
using namespace halftone::test;
using namespace halftone::kernels::cuda;

namespace {

struct PlacedThread {
  int64_t block_;
  int index_;
  int64_t block() const { return block_; }
  int index() const { return index_; }
};

constexpr PackShape kPack{4, 4};

// First and last element of a block's share, by its threads.
struct Span {
  int64_t begin = INT64_MAX, end = INT64_MIN;
  void add(int64_t from, int64_t to) {
    begin = std::min(begin, from);
    end = std::max(end, to);
  }
};

Span rows_span(const RowsGeometry& g, int64_t block) {
  Span span;
  for (int t = 0; t < kThreads; ++t) {
    const RowsPlace p = rows_place(PlacedThread{block, t}, g, kPack.width);
    if (!p.any) continue;
    REQUIRE(p.first <= p.begin + (p.lane + 1) * kPack.width);
    REQUIRE(p.first > p.begin - kPack.width);
    span.add(p.begin, p.end);
  }
  return span;
}

Span columns_span(const ColumnsGeometry& g, int64_t block) {
  Span span;
  for (int t = 0; t < kThreads; ++t) {
    const ColumnsPlace p = columns_place(PlacedThread{block, t}, g, kPack.width);
    if (p.any && p.first < p.end) span.add(std::max<int64_t>(0, p.first), p.end);
  }
  return span;
}

std::vector<int64_t> some_blocks(int64_t blocks) {
  std::vector<int64_t> list;
  for (const int64_t b : {int64_t{0}, int64_t{1}, blocks / 2, blocks / 2 + 1, blocks - 2}) {
    if (b >= 0 && b + 1 < blocks) list.push_back(b);
  }
  return list;
}

}  // namespace

TEST_CASE("rows of more than 2^31 elements") {
  for (const int64_t most : {0, kReduceBlocks}) {
    for (const ChannelLayout& layout :
         {ChannelLayout{1, 1, (int64_t{1} << 33) + 5}, ChannelLayout{3, 70000, 40009},
          ChannelLayout{2, 3, (int64_t{1} << 31) + 3}}) {
      for (const int lead : {-1, 0, 3}) {
        INFO(text(layout) << ", lead " << lead << ", at most " << most << " units");
        const RowsGeometry g = rows_geometry(layout, kPack, lead, most);
        REQUIRE(rows_span(g, 0).begin == 0);
        REQUIRE(rows_span(g, g.blocks() - 1).end == layout.numel());
        for (const int64_t b : some_blocks(g.blocks())) {
          REQUIRE(rows_span(g, b).end == rows_span(g, b + 1).begin);
        }
      }
    }
  }
}

TEST_CASE("the channel of a row beyond 2^31 elements") {
  const ChannelLayout layout{3, 70000, 40009};
  const RowsGeometry g = rows_geometry(layout, kPack, 0, 0);
  const int64_t segments = g.segments;
  for (const int64_t unit : {int64_t{0}, 69999 * segments, 70000 * segments + 1, g.units() - 1}) {
    const RowsPlace p = rows_place(PlacedThread{unit / (kThreads / g.lanes), 0}, g, kPack.width);
    REQUIRE(p.channel == p.begin / layout.inner % layout.channels);
  }
}

TEST_CASE("columns of more than 2^31 elements") {
  for (const bool reduces : {false, true}) {
    for (const int64_t channels : {3, 10, 64, 300, 1030}) {
      const ChannelLayout layout{(int64_t{1} << 33) / channels + 1, channels, 1};
      for (const int lead : {-1, 0, 1}) {
        INFO(text(layout) << ", lead " << lead << (reduces ? ", sums" : ""));
        const ColumnsGeometry g = columns_geometry(layout, kPack, lead, reduces);
        REQUIRE(columns_span(g, 0).begin == 0);
        REQUIRE(columns_span(g, g.blocks() - 1).end == layout.numel());
        REQUIRE(g.row_blocks * g.chunk * g.slots(kPack.width) + g.start >= layout.numel());
        REQUIRE((g.row_blocks - 1) * g.chunk * g.slots(kPack.width) + g.start < layout.numel());
        for (const int64_t b : some_blocks(g.row_blocks)) {
          REQUIRE(columns_span(g, b * g.tiles).end == columns_span(g, (b + 1) * g.tiles).begin);
        }
      }
    }
  }
}

TEST_CASE("too many rows and channels are refused") {
  REQUIRE_THROWS_WITH(rows_geometry({1 << 17, 1 << 16, 8}, kPack, 0, 0),
                      Catch::Contains("2^32 - 1 rows"));
  REQUIRE_THROWS_WITH(columns_geometry({2, int64_t{1} << 31, 1}, kPack, 0, false),
                      Catch::Contains("2^30 channels"));
}
