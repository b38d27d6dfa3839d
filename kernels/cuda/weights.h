// The op of weights_cuda.h, for any launcher.
#pragma once

#include "kernels/cuda/dorefa.h"
#include "kernels/cuda/grids.h"
#include "kernels/cuda/pack.h"
#include "kernels/cuda/range.h"
#include "kernels/integer/binary_math.h"
#include "kernels/integer/chain_math.h"
#include "kernels/weights_cuda.h"

namespace halftone::kernels::cuda {

struct WeightsTotal {
  RangeTotal range;
  double magnitude = 0.0;
  HALFTONE_HD void see(float w) {
    range.see(w);
    magnitude += static_cast<double>(fabsf(w));
  }
  HALFTONE_HD void merge(const WeightsTotal& other) {
    range.merge(other.range);
    magnitude += other.magnitude;
  }
};

struct WeightsBody {
  using Total = WeightsTotal;
  static constexpr int kShared = (kThreads + 1) * static_cast<int>(sizeof(Total));
  static constexpr int kWidth = 4;
  // Blocks that have a place, pieces of each segment that are reduced, blocks that are done.
  static constexpr int kPlaces = 0, kReduced = 1, kDone = 1 + kWeightSegments,
                       kCounters = kDone + 1;

  template <class Thread>
  HALFTONE_HD void operator()(const Thread& t) const {
    if (a.pieces == 0) return write_row(t, t.block());
    const int64_t place = take_place(t);
    place < a.pieces ? reduce_piece(t, place) : write_row(t, place - a.pieces);
    uint32_t* flag = t.template shared<uint32_t>();
    const auto blocks = static_cast<uint32_t>(a.pieces + a.rows);
    if (!is_last_block(t, counters + kDone, blocks, flag)) return;
    for (int k = t.index(); k < kDone; k += kThreads) counters[k] = 0;
  }

  // In the order in which blocks begin, whatever their numbers: those that are waited for have
  // begun before those that wait.
  template <class Thread>
  HALFTONE_HD int64_t take_place(const Thread& t) const {
    uint32_t* place = t.template shared<uint32_t>();
    if (t.index() == 0) *place = t.add(counters + kPlaces, uint32_t{1});
    t.sync();
    const uint32_t mine = *place;
    t.sync();
    return mine;
  }

  // ---- reductions ----

  // visit(Access) of the thread's packs of `length` values: whole ones where they are aligned.
  template <class Thread, class Visit>
  HALFTONE_HD static void walk(const Thread& t, bool aligned, int64_t length, const Visit& visit) {
    for (int64_t i = int64_t{t.index()} * kWidth; i < length; i += kThreads * kWidth) {
      if (aligned) {
        visit(Access<kWidth, true>{i, 0, kWidth});
      } else {
        visit(Access<kWidth, false>{i, 0, static_cast<int>(smaller<int64_t>(length - i, kWidth))});
      }
    }
  }

  HALFTONE_HD static bool is_aligned(const WeightSegment& s, int64_t length) {
    const uintptr_t all = reinterpret_cast<uintptr_t>(s.w) | reinterpret_cast<uintptr_t>(s.y) |
                          reinterpret_cast<uintptr_t>(s.high) | reinterpret_cast<uintptr_t>(s.low);
    return all % 16 == 0 && length % kWidth == 0;
  }

  // The block's; it is with every thread.
  template <class Thread>
  HALFTONE_HD static Total reduce(const Thread& t, bool aligned, const float* w, int64_t length) {
    Total total{};
    walk(t, aligned, length, [&](auto at) {
      Pack<float, kWidth> values;
      at.load(w, values);
      HALFTONE_UNROLL
      for (int j = 0; j < kWidth; ++j) {
        if (at.has(j)) total.see(values.v[j]);
      }
    });
    Total* totals = t.template shared<Total>();
    totals[t.index()] = total;
    merge_places(t, totals + t.index(), t.index(), kThreads, 1);
    t.sync();
    return totals[0];
  }

  template <class Thread>
  HALFTONE_HD void reduce_piece(const Thread& t, int64_t piece) const {
    int k = 0;
    while (piece >= a.segments[k].first_piece + a.segments[k].pieces) ++k;
    const WeightSegment& s = a.segments[k];
    const int64_t begin = (piece - s.first_piece) * kWeightPiece;
    const int64_t length = smaller(kWeightPiece, s.rows * s.length - begin);
    const Total total = reduce(t, is_aligned(s, length), s.w + begin, length);
    if (t.index() != 0) return;
    partials[piece] = total;
    t.fence();
    t.add(counters + kReduced + k, uint32_t{1});
  }

  // Of a whole segment, once all its pieces are reduced.
  template <class Thread>
  HALFTONE_HD Total await(const Thread& t, int k) const {
    const WeightSegment& s = a.segments[k];
    if (t.index() == 0) {
      while (t.add(counters + kReduced + k, uint32_t{0}) < s.pieces) {
      }
      t.fence();
    }
    t.sync();
    t.fence();
    Total* totals = t.template shared<Total>();
    gather(
        t, totals, int64_t{1}, s.pieces,
        [&](int64_t, int64_t piece) { return partials[s.first_piece + piece]; },
        [&](int64_t, const Total& all) { totals[kThreads] = all; });
    t.sync();
    return totals[kThreads];
  }

  // ---- rows ----

  // Of the segments, the last that does not begin behind the row.
  HALFTONE_HD int find(int64_t row) const {
    int low = 0, high = a.count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (a.segments[middle].first_row <= row ? low : high) = middle;
    }
    return low;
  }

  template <class Thread>
  HALFTONE_HD void write_row(const Thread& t, int64_t place) const {
    const int k = find(place);
    const WeightSegment& s = a.segments[k];
    const int64_t row = place - s.first_row;
    const bool own = !s.whole && (s.rule == WeightRule::kAlpha || s.rule == WeightRule::kRange);
    Total total{};
    if (s.pieces > 0) total = await(t, k);
    if (own) total = reduce(t, is_aligned(s, s.length), s.w + row * s.length, s.length);
    const bool keeps = t.index() == 0 && (row == 0 || !s.whole);
    if (s.rule == WeightRule::kSign || s.rule == WeightRule::kAlpha) {
      return write_signs(t, s, row, total, keeps);
    }
    if (s.rule == WeightRule::kTanh) return write_tanh(t, s, row, total);
    const quant_math::Grid g = grid_of(s, row, total, keeps);
    if (s.result == WeightResult::kReals) {
      const SharedGrid shared(g);
      const float zero = static_cast<float>(g.zero_point);
      return write_reals(t, s, row, [=](float w) { return OnnxRule::value(w, shared, zero); });
    }
    write_integers(t, s, row, g, [](float w) { return w; });
  }

  template <class Thread>
  HALFTONE_HD static void write_signs(const Thread& t, const WeightSegment& s, int64_t row,
                                      const Total& total, bool keeps) {
    float alpha = 1.0f;
    if (s.rule == WeightRule::kAlpha) {
      const int64_t count = s.whole ? s.rows * s.length : s.length;
      alpha = static_cast<float>(total.magnitude / static_cast<double>(count));
    }
    const float kept = s.whole ? quant_math::larger(alpha, quant_math::kScaleFloor) : alpha;
    if (keeps && s.rule == WeightRule::kAlpha) s.scale[s.whole ? 0 : row] = kept;
    const auto sign = [=](float w) { return alpha * quant_math::binary_sign(w); };
    if (s.result == WeightResult::kReals) return write_reals(t, s, row, sign);
    write_integers(t, s, row, quant_math::Grid{kept, 0, s.qmin, s.qmax}, sign);
  }

  template <class Thread>
  HALFTONE_HD static void write_tanh(const Thread& t, const WeightSegment& s, int64_t row,
                                     const Total& total) {
    const float most = fmaxf(-total.range.low, total.range.high);
    const float largest = dorefa_at_least_floor(quant_math::dorefa_tanh(most));
    const DorefaWeightRuleOfLayer rule{Divider::by(2.0f * largest),
                                       Divider::by(static_cast<float>((1 << s.bits) - 1))};
    const auto value = [=](float w) { return rule.value(quant_math::dorefa_tanh(w)); };
    if (s.result == WeightResult::kReals) return write_reals(t, s, row, value);
    write_integers(t, s, row, quant_math::Grid{s.scale[0], 0, s.qmin, s.qmax}, value);
  }

  // That of kRange follows from the range; where that is not finite, it stays, as with observe().
  HALFTONE_HD static quant_math::Grid grid_of(const WeightSegment& s, int64_t row,
                                              const Total& total, bool keeps) {
    const int64_t at = s.one_scale || s.whole ? 0 : row;
    if (s.rule == WeightRule::kRange && total.range.finite()) {
      const quant_math::Grid g = quant_math::choose_grid(total.range.low, total.range.high, s.grid);
      if (!keeps) return g;
      s.scale[at] = g.scale;
      s.zero_point[at] = g.zero_point;
      if (s.range_low != nullptr) s.range_low[at] = total.range.low;
      if (s.range_high != nullptr) s.range_high[at] = total.range.high;
      return g;
    }
    quant_math::Grid g{1.0f, 0, s.qmin, s.qmax};
    if (s.rule == WeightRule::kRange) {
      if (keeps && s.not_finite != nullptr) *s.not_finite = 1;
      g = quant_math::empty_grid(s.grid);
    }
    g.scale = s.scale[at];
    g.zero_point = s.zero_point != nullptr ? s.zero_point[at] : 0;
    return g;
  }

  // y = rule(w)
  template <class Thread, class Rule>
  HALFTONE_HD static void write_reals(const Thread& t, const WeightSegment& s, int64_t row,
                                      const Rule& rule) {
    const float* w = s.w + row * s.length;
    float* y = s.y + row * s.length;
    walk(t, is_aligned(s, s.length), s.length, [&](auto at) {
      Pack<float, kWidth> values;
      at.load(w, values);
      HALFTONE_UNROLL
      for (int j = 0; j < kWidth; ++j) values.v[j] = at.has(j) ? rule(values.v[j]) : 0.0f;
      at.store(y, values);
    });
  }

  // Codes of rule(w).
  template <class Thread, class Rule>
  HALFTONE_HD static void write_integers(const Thread& t, const WeightSegment& s, int64_t row,
                                         const quant_math::Grid& g, const Rule& rule) {
    const SharedGrid grid(g);
    const bool negated = s.gamma != nullptr && s.gamma[row] < 0.0f;
    const int32_t factor = (negated ? -1 : 1) * (1 << s.shift);
    const int64_t from = row * s.length;
    walk(t, is_aligned(s, s.length), s.length, [&](auto at) {
      Pack<float, kWidth> w, whole, high, low;
      at.load(s.w + from, w);
      HALFTONE_UNROLL
      for (int j = 0; j < kWidth; ++j) {
        const float value = at.has(j) ? rule(w.v[j]) : 0.0f;
        const int32_t v = OnnxRule::code(value, grid, 0) * factor;  // code - zero point
        const int32_t top = (v + 8) >> 4;                           // floor((v + 8) / 16)
        whole.v[j] = static_cast<float>(v);
        high.v[j] = static_cast<float>(top), low.v[j] = static_cast<float>(v - 16 * top);
      }
      at.store(s.y + from, whole);
      if (s.result != WeightResult::kParts) return;
      at.store(s.high + from, high);
      at.store(s.low + from, low);
    });
  }

  QuantizeWeightsArgs a;
  Total* partials;     // of the pieces
  uint32_t* counters;  // null without pieces
};

template <class Launcher>
void launch_quantize_weights(Launcher& launcher, const QuantizeWeightsArgs& a) {
  WeightsBody body{a, nullptr, nullptr};
  if (a.pieces > 0) {
    body.partials = static_cast<WeightsTotal*>(launcher.scratch(a.pieces * sizeof(WeightsTotal)));
    body.counters = launcher.counters(WeightsBody::kCounters);
  }
  launcher.run(a.pieces + a.rows, body);
}

}  // namespace halftone::kernels::cuda
