// Index arithmetic of the walks for arrays that no test could hold: threads of first, middle and
// last blocks are asked where they go; blocks must meet without gap or overlap.
#include <catch2/catch.hpp>

#include "kernels/cuda/elementwise.h"
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

TEST_CASE("quotients and rests of items beyond 2^32") {
  constexpr int64_t kTwo32 = int64_t{1} << 32;
  for (const int64_t i : {kTwo32 - 1, kTwo32, kTwo32 + 12345, (int64_t{1} << 40) + 7}) {
    for (const int64_t by : {int64_t{1}, int64_t{3}, int64_t{64}, kTwo32 - 1, kTwo32, kTwo32 + 2}) {
      INFO(i << " by " << by);
      const Division d = divide(i, by);
      REQUIRE(d.quotient * by + d.rest == i);
      REQUIRE((d.rest >= 0 && d.rest < by));
    }
  }
}

TEST_CASE("the places of an image's elements beyond 2^31 and 2^32") {
  const int64_t height = 224, width = 223, channels = 67;
  for (const int64_t n : {int64_t{641}, int64_t{1283}, int64_t{1} << 20}) {
    const int64_t i = ((n * height + 200) * width + 101) * channels + 66;
    REQUIRE(i > int64_t{1} << 31);
    const Spot s = spot(i, height, width, channels);
    REQUIRE((s.n == n && s.h == 200 && s.w == 101 && s.c == 66));
    const Spot next = spot(i + 1, height, width, channels);
    REQUIRE((next.n == n && next.h == 200 && next.w == 102 && next.c == 0));
  }
}

namespace {

// Where threads of `each` go.
struct Noted {
  int64_t* seen;
  void operator()(int64_t i) const { *seen = i; }
};

}  // namespace

TEST_CASE("items beyond 2^31 each have one thread") {
  constexpr int64_t kCount = (int64_t{1} << 33) + 5;
  const int64_t blocks = divide_up(kCount, kThreads);
  for (const int64_t block : {int64_t{0}, (int64_t{1} << 31) / kThreads, blocks - 1}) {
    for (const int t : {0, 4, kThreads - 1}) {
      int64_t seen = -1;
      EachBody<Noted>{{&seen}, kCount}(PlacedThread{block, t});
      const int64_t own = block * kThreads + t;
      REQUIRE(seen == (own < kCount ? own : -1));
    }
  }
}
