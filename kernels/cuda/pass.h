// One pass of an op over an array by either walk, and the second launch that finishes its sums.
#pragma once

#include <type_traits>

#include "kernels/cuda/reduce.h"
#include "kernels/cuda/walk.h"

namespace halftone::kernels::cuda {

template <class Op>
constexpr bool kReduces = !std::is_same_v<typename Op::Total, Nothing>;

template <class Op>
struct RowsBody {
  using Total = typename Op::Total;
  static constexpr int kShared = kReduces<Op> ? kThreads * static_cast<int>(sizeof(Total)) : 0;

  template <class Thread>
  HALFTONE_HD void operator()(const Thread& t) const {
    const RowsPlace p = rows_place(t, g, Op::kWidth);
    Total total{};
    if (p.any) {
      const typename Op::Constants constants = op.constants(p.channel);
      walk_packs<1>(op, p.first, static_cast<int64_t>(g.lanes) * Op::kWidth, p.begin, p.end,
                    g.lead >= 0, &constants,
                    [&](const typename Op::Tile* tile) { total.take(*tile); });
    }
    if constexpr (kReduces<Op>) {
      Total* mine = t.template shared<Total>() + t.index();
      *mine = total;
      merge_places(t, mine, p.lane, g.lanes, 1);
      if (p.any && p.lane == 0) partials[p.unit] = *mine;
    }
  }

  Op op;
  RowsGeometry g;
  Total* partials = nullptr;
};

// One block per channel, over the units of its rows.
template <class Op>
struct FinishRows {
  using Total = typename Op::Total;
  static constexpr int kShared = kThreads * static_cast<int>(sizeof(Total));

  template <class Thread>
  HALFTONE_HD void operator()(const Thread& t) const {
    const int64_t channel = t.block();
    const int64_t count = static_cast<int64_t>(g.rows / g.channels) * g.segments;
    Total total{};
    for (int64_t k = t.index(); k < count; k += kThreads) {
      const int64_t outer = k / g.segments, segment = k % g.segments;
      total.merge(partials[(outer * g.channels + channel) * g.segments + segment]);
    }
    Total* mine = t.template shared<Total>() + t.index();
    *mine = total;
    merge_places(t, mine, t.index(), kThreads, 1);
    if (t.index() == 0) op.finish(channel, *mine);
  }

  Op op;
  RowsGeometry g;
  const Total* partials;
};

template <class Op>
struct ColumnsBody {
  using Total = typename Op::Total;
  static constexpr int kWidth = Op::kWidth;
  static constexpr int kShared = kReduces<Op> ? kThreads * static_cast<int>(sizeof(Total)) : 0;

  template <class Thread>
  HALFTONE_HD void operator()(const Thread& t) const {
    const ColumnsPlace p = columns_place(t, g, kWidth);
    Total totals[kWidth] = {};
    if (p.any) walk(p, totals);
    if constexpr (kReduces<Op>) {
      for (int j = 0; j < kWidth; ++j) {
        t.sync();  // the values of j - 1 have been read
        Total* mine = t.template shared<Total>() + t.index();
        *mine = totals[j];
        merge_places(t, mine, p.any ? p.row : -1, g.rows, g.period);
        if (p.any && p.row == 0) {
          partials[p.row_block * g.slots(kWidth) + p.column * kWidth + j] = *mine;
        }
      }
    }
  }

  HALFTONE_HD void walk(const ColumnsPlace& p, Total* totals) const {
    typename Op::Constants constants[kWidth];
    for (int j = 0; j < kWidth; ++j) {
      constants[j] = op.constants(column_channel(g, kWidth, p.column, j));
    }
    walk_packs<kWidth>(op, p.first, p.stride, int64_t{0}, g.numel, g.aligned, constants,
                       [&](const typename Op::Tile* tiles) {
                         for (int j = 0; j < kWidth; ++j) totals[j].take(tiles[j]);
                       });
  }

  Op op;
  ColumnsGeometry g;
  Total* partials = nullptr;
};

// A block finishes 32 channels side by side; 8 threads share the partial results of one.
template <class Op>
struct FinishColumns {
  using Total = typename Op::Total;
  static constexpr int kSide = 32, kLanes = kThreads / kSide;
  static constexpr int kShared = kThreads * static_cast<int>(sizeof(Total));

  template <class Thread>
  HALFTONE_HD void operator()(const Thread& t) const {
    const int lane = t.index() / kSide;
    const int64_t channel = t.block() * kSide + t.index() % kSide;
    Total total{};
    if (channel < g.channels) merge_slots(channel, lane, total);
    Total* mine = t.template shared<Total>() + t.index();
    *mine = total;
    merge_places(t, mine, lane, kLanes, kSide);
    if (channel < g.channels && lane == 0) op.finish(channel, *mine);
  }

  // The channel stands in every channels-th slot of a row block.
  HALFTONE_HD void merge_slots(int64_t channel, int lane, Total& total) const {
    const int64_t slots = g.slots(Op::kWidth), turns = slots / g.channels;
    const int64_t shift = channel - g.start;  // start <= 0
    const int64_t first = shift % g.channels;
    for (int64_t k = lane; k < g.row_blocks * turns; k += kLanes) {
      total.merge(partials[k / turns * slots + first + k % turns * g.channels]);
    }
  }

  Op op;
  ColumnsGeometry g;
  const Total* partials;
};

template <class Launcher, class Op>
void pass_rows(Launcher& launcher, const Op& op, const ChannelLayout& layout, int lead) {
  const RowsGeometry g =
      rows_geometry(layout, {Op::kWidth, Op::kUnroll}, lead, kReduces<Op> ? kReduceBlocks : 0);
  RowsBody<Op> body{op, g, nullptr};
  if constexpr (kReduces<Op>) {
    using Total = typename Op::Total;
    body.partials = static_cast<Total*>(launcher.scratch(g.units() * sizeof(Total)));
    launcher.run(g.blocks(), body);
    launcher.run(layout.channels, FinishRows<Op>{op, g, body.partials});
  } else {
    launcher.run(g.blocks(), body);
  }
}

template <class Launcher, class Op>
void pass_columns(Launcher& launcher, const Op& op, const ChannelLayout& layout, int lead) {
  const ColumnsGeometry g = columns_geometry(layout, {Op::kWidth, Op::kUnroll}, lead,
                                             kReduces<Op> ? kReduceBlocks : kColumnBlocks);
  ColumnsBody<Op> body{op, g, nullptr};
  if constexpr (kReduces<Op>) {
    using Total = typename Op::Total;
    const int64_t count = g.row_blocks * g.slots(Op::kWidth);
    body.partials = static_cast<Total*>(launcher.scratch(count * sizeof(Total)));
    launcher.run(g.blocks(), body);
    launcher.run(divide_up(g.channels, FinishColumns<Op>::kSide),
                 FinishColumns<Op>{op, g, body.partials});
  } else {
    launcher.run(g.blocks(), body);
  }
}

// op.arrays() lists what it reads and writes element by element.
template <class Launcher, class Op>
void pass(Launcher& launcher, const Op& op, const ChannelLayout& layout) {
  const int lead = common_lead(op.arrays(), Op::kWidth);
  if (layout.channels == 1) {
    pass_rows(launcher, op, ChannelLayout{1, 1, layout.numel()}, lead);
  } else if (layout.inner == 1) {
    pass_columns(launcher, op, layout, lead);
  } else {
    pass_rows(launcher, op, layout, lead);
  }
}

// An op without channels over n elements.
template <class Launcher, class Op>
void pass_flat(Launcher& launcher, const Op& op, int64_t n) {
  pass_rows(launcher, op, ChannelLayout{1, 1, n}, common_lead(op.arrays(), Op::kWidth));
}

}  // namespace halftone::kernels::cuda
