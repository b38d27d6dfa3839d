// One pass of an op over an array by either walk; where the op reduces, the block that finishes
// last merges what the blocks left.
#pragma once

#include "kernels/cuda/walk.h"

namespace halftone::kernels::cuda {

template <class Op>
constexpr bool kReduces = !std::is_same_v<typename Op::Total, Nothing>;

// Where the blocks of a pass leave their totals, and count themselves.
template <class Total>
struct Partials {
  Total* totals = nullptr;
  uint32_t* counters = nullptr;
};

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
                    g.lead >= 0, &constants, &total);
    }
    if constexpr (kReduces<Op>) {
      Total* mine = t.template shared<Total>() + t.index();
      *mine = total;
      merge_places(t, mine, p.lane, g.lanes, 1);
      if (p.any && p.lane == 0) partials.totals[p.unit] = *mine;
      finish(t);
    }
  }

  template <class Thread>
  HALFTONE_HD void finish(const Thread& t) const {
    uint32_t* flag = t.template shared<uint32_t>();
    if (!is_last_block(t, partials.counters, static_cast<uint32_t>(g.blocks()), flag)) return;
    const uint32_t outer = g.rows / g.channels;
    gather(
        t, t.template shared<Total>(), g.channels, static_cast<int64_t>(outer) * g.segments,
        [&](int64_t channel, int64_t k) {
          const uint32_t row = static_cast<uint32_t>(k) / g.segments;
          const uint32_t segment = static_cast<uint32_t>(k) - row * g.segments;
          return partials.totals[(row * g.channels + channel) * g.segments + segment];
        },
        [&](int64_t channel, const Total& total) { op.finish(channel, total); });
  }

  Op op;
  RowsGeometry g;
  Partials<Total> partials;
};

template <class Op>
struct ColumnsBody {
  using Total = typename Op::Total;
  static constexpr int kWidth = Op::kWidth;
  // A stage for gather, and the totals of all threads.
  static constexpr int kShared =
      kReduces<Op> ? (1 + kWidth) * kThreads * static_cast<int>(sizeof(Total)) : 0;

  template <class Thread>
  HALFTONE_HD void operator()(const Thread& t) const {
    const ColumnsPlace p = columns_place(t, g, kWidth);
    Total totals[kWidth] = {};
    if (p.any) walk(p, totals);
    if constexpr (kReduces<Op>) {
      leave(t, p, totals);
      finish(t, p);
    }
  }

  HALFTONE_HD void walk(const ColumnsPlace& p, Total* totals) const {
    typename Op::Constants constants[kWidth];
    HALFTONE_UNROLL
    for (int j = 0; j < kWidth; ++j) {
      constants[j] = op.constants(column_channel(g, p.column * kWidth + j));
    }
    walk_packs<kWidth>(op, p.first, p.stride, int64_t{0}, p.end, g.aligned, constants, totals);
  }

  // The totals of the block's rows, per slot.
  template <class Thread>
  HALFTONE_HD void leave(const Thread& t, const ColumnsPlace& p, const Total* totals) const {
    Total* stage = t.template shared<Total>();
    Total* all = stage + kThreads;
    const int width = g.columns * kWidth;  // slots of a tile
    if (p.any) {
      const int at = p.row * width + (p.column - p.tile * g.columns) * kWidth;
      HALFTONE_UNROLL
      for (int j = 0; j < kWidth; ++j) all[at + j] = totals[j];
    }
    t.sync();
    Total* mine = partials.totals + p.row_block * g.slots(kWidth) + p.tile * width;
    gather(
        t, stage, tile_slots(p), g.rows, [&](int64_t f, int64_t k) { return all[k * width + f]; },
        [&](int64_t f, const Total& total) { mine[f] = total; });
  }

  HALFTONE_HD int tile_slots(const ColumnsPlace& p) const {
    return smaller(g.columns, g.period - p.tile * g.columns) * kWidth;
  }

  // A channel stands in every channels-th slot of a row block.
  template <class Thread>
  HALFTONE_HD void finish(const Thread& t, const ColumnsPlace& p) const {
    const bool alone = g.turns == 1;  // the tile has its channels for itself
    const uint32_t blocks = static_cast<uint32_t>(alone ? g.row_blocks : g.blocks());
    uint32_t* flag = t.template shared<uint32_t>();
    if (!is_last_block(t, partials.counters + (alone ? p.tile : 0), blocks, flag)) return;
    const int slots = g.slots(kWidth), first = alone ? p.tile * g.columns * kWidth : 0;
    gather(
        t, t.template shared<Total>(), alone ? tile_slots(p) : g.channels, g.row_blocks * g.turns,
        [&](int64_t f, int64_t k) {
          const uint32_t block = static_cast<uint32_t>(k) / static_cast<uint32_t>(g.turns);
          const uint32_t turn = static_cast<uint32_t>(k) - block * g.turns;
          return partials
              .totals[static_cast<int64_t>(block) * slots + first + f + turn * g.channels];
        },
        [&](int64_t f, const Total& total) {
          op.finish(column_channel(g, first + static_cast<int>(f)), total);
        });
  }

  Op op;
  ColumnsGeometry g;
  Partials<Total> partials;
};

template <class Total, class Launcher>
Partials<Total> room_for_partials(Launcher& launcher, int64_t totals, int64_t counters) {
  return {static_cast<Total*>(launcher.scratch(totals * sizeof(Total))),
          launcher.counters(counters)};
}

template <class Launcher, class Op>
void pass_rows(Launcher& launcher, const Op& op, const ChannelLayout& layout, int lead) {
  const RowsGeometry g =
      rows_geometry(layout, {Op::kWidth, Op::kUnroll}, lead, kReduces<Op> ? kReduceBlocks : 0);
  RowsBody<Op> body{op, g, {}};
  if constexpr (kReduces<Op>) {
    body.partials = room_for_partials<typename Op::Total>(launcher, g.units(), 1);
  }
  launcher.run(g.blocks(), body);
}

template <class Launcher, class Op>
void pass_columns(Launcher& launcher, const Op& op, const ChannelLayout& layout, int lead) {
  const ColumnsGeometry g = columns_geometry(layout, {Op::kWidth, Op::kUnroll}, lead, kReduces<Op>);
  ColumnsBody<Op> body{op, g, {}};
  if constexpr (kReduces<Op>) {
    body.partials = room_for_partials<typename Op::Total>(
        launcher, g.row_blocks * g.slots(Op::kWidth), g.groups());
  }
  launcher.run(g.blocks(), body);
}

// The ops of the two walks differ in the width of their packs; fill(op) sets the members of either.
// op.arrays() lists what it reads and writes element by element.
template <class RowsOp, class ColumnsOp, class Launcher, class Fill>
void pass(Launcher& launcher, const ChannelLayout& layout, const Fill& fill) {
  if (layout.channels > 1 && layout.inner == 1) {
    ColumnsOp op{};
    fill(op);
    return pass_columns(launcher, op, layout, common_lead(op.arrays(), ColumnsOp::kWidth));
  }
  RowsOp op{};
  fill(op);
  const bool flat = layout.channels == 1;
  pass_rows(launcher, op, flat ? ChannelLayout{1, 1, layout.numel()} : layout,
            common_lead(op.arrays(), RowsOp::kWidth));
}

// An op without channels over n elements.
template <class Launcher, class Op>
void pass_flat(Launcher& launcher, const Op& op, int64_t n) {
  pass_rows(launcher, op, ChannelLayout{1, 1, n}, common_lead(op.arrays(), Op::kWidth));
}

}  // namespace halftone::kernels::cuda
