// The op of weights_cuda.h, for any launcher.
#pragma once

#include "kernels/cuda/grids.h"
#include "kernels/cuda/pack.h"
#include "kernels/cuda/range.h"
#include "kernels/integer/binary_math.h"
#include "kernels/weights_cuda.h"

namespace halftone::kernels::cuda {

struct WeightsBody {
  struct Total {
    RangeTotal range;
    double magnitude = 0.0;
    HALFTONE_HD void merge(const Total& other) {
      range.merge(other.range);
      magnitude += other.magnitude;
    }
  };
  static constexpr int kShared = kThreads * static_cast<int>(sizeof(Total));
  static constexpr int kWidth = 4;

  template <class Thread>
  HALFTONE_HD void operator()(const Thread& t) const {
    const WeightSegment& s = a.segments[find(t.block())];
    const int64_t row = t.block() - s.first_row;
    const float* w = s.w + row * s.length;
    Total* totals = t.template shared<Total>();
    if (s.rule == WeightRule::kAlpha || s.rule == WeightRule::kRange) {
      Total total{};
      walk(t, s, [&](auto at) {
        Pack<float, kWidth> values;
        at.load(w, values);
        HALFTONE_UNROLL
        for (int j = 0; j < kWidth; ++j) {
          if (!at.has(j)) continue;
          total.range.see(values.v[j]);
          total.magnitude += static_cast<double>(fabsf(values.v[j]));
        }
      });
      totals[t.index()] = total;
      merge_places(t, totals + t.index(), t.index(), kThreads, 1);
      if (t.index() == 0) keep(s, row, totals[0]);
    }
    // Through memory: what thread 0 wrote is seen after it.
    t.fence();
    t.sync();
    write(t, s, row, w);
  }

  // visit(Access) of the thread's packs of a row: whole ones where all rows are aligned.
  template <class Thread, class Visit>
  HALFTONE_HD static void walk(const Thread& t, const WeightSegment& s, const Visit& visit) {
    const uintptr_t addresses =
        reinterpret_cast<uintptr_t>(s.w) | reinterpret_cast<uintptr_t>(s.y) |
        reinterpret_cast<uintptr_t>(s.high) | reinterpret_cast<uintptr_t>(s.low);
    const bool aligned = addresses % 16 == 0 && s.length % kWidth == 0;
    for (int64_t i = int64_t{t.index()} * kWidth; i < s.length; i += kThreads * kWidth) {
      if (aligned) {
        visit(Access<kWidth, true>{i, 0, kWidth});
      } else {
        const int64_t left = s.length - i;
        visit(Access<kWidth, false>{i, 0, static_cast<int>(left < kWidth ? left : kWidth)});
      }
    }
  }

  // y = f(w) of a row.
  template <class Thread, class Rule>
  HALFTONE_HD static void map(const Thread& t, const WeightSegment& s, const float* w, float* y,
                              const Rule& rule) {
    walk(t, s, [&](auto at) {
      Pack<float, kWidth> values;
      at.load(w, values);
      HALFTONE_UNROLL
      for (int j = 0; j < kWidth; ++j) values.v[j] = at.has(j) ? rule(values.v[j]) : 0.0f;
      at.store(y, values);
    });
  }

  // Of the segments, the last that does not begin behind the block's row.
  HALFTONE_HD int find(int64_t row) const {
    int low = 0, high = a.count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (a.segments[middle].first_row <= row ? low : high) = middle;
    }
    return low;
  }

  HALFTONE_HD static void keep(const WeightSegment& s, int64_t row, const Total& total) {
    if (s.rule == WeightRule::kAlpha) {
      s.scale[row] = static_cast<float>(total.magnitude / static_cast<double>(s.length));
      return;
    }
    if (!total.range.finite()) {  // keeps its grid, as observe() does
      if (s.not_finite != nullptr) *s.not_finite = 1;
      return;
    }
    const quant_math::Grid g = quant_math::choose_grid(total.range.low, total.range.high, s.grid);
    s.scale[row] = g.scale;
    s.zero_point[row] = g.zero_point;
    if (s.range_low != nullptr) s.range_low[row] = total.range.low;
    if (s.range_high != nullptr) s.range_high[row] = total.range.high;
  }

  HALFTONE_HD static quant_math::Grid grid_of(const WeightSegment& s, int64_t row) {
    const int64_t at = s.one_scale ? 0 : row;
    quant_math::Grid g{s.scale[at], 0, s.qmin, s.qmax};
    if (s.rule == WeightRule::kRange) g = quant_math::empty_grid(s.grid);
    g.scale = s.scale[at];
    g.zero_point = s.zero_point != nullptr ? s.zero_point[at] : 0;
    return g;
  }

  template <class Thread>
  HALFTONE_HD void write(const Thread& t, const WeightSegment& s, int64_t row,
                         const float* w) const {
    float* y = s.y + row * s.length;
    if (s.rule == WeightRule::kSign || s.rule == WeightRule::kAlpha) {
      const float alpha = s.rule == WeightRule::kAlpha ? s.scale[row] : 1.0f;
      return map(t, s, w, y, [=](float v) { return alpha * quant_math::binary_sign(v); });
    }
    const quant_math::Grid g = grid_of(s, row);
    const SharedGrid shared(g);
    if (s.result != WeightResult::kReals) return write_integers(t, s, row, shared);
    const float zero = static_cast<float>(g.zero_point);
    map(t, s, w, y, [=](float v) { return OnnxRule::value(v, shared, zero); });
  }

  template <class Thread>
  HALFTONE_HD void write_integers(const Thread& t, const WeightSegment& s, int64_t row,
                                  const SharedGrid& grid) const {
    const bool negated = s.gamma != nullptr && s.gamma[row] < 0.0f;
    const int32_t factor = (negated ? -1 : 1) * (1 << s.shift);
    const int64_t from = row * s.length;
    walk(t, s, [&](auto at) {
      Pack<float, kWidth> w, whole, high, low;
      at.load(s.w + from, w);
      HALFTONE_UNROLL
      for (int j = 0; j < kWidth; ++j) {
        const float value = at.has(j) ? w.v[j] : 0.0f;
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
};

template <class Launcher>
void launch_quantize_weights(Launcher& launcher, const QuantizeWeightsArgs& a) {
  launcher.run(a.rows, WeightsBody{a});
}

}  // namespace halftone::kernels::cuda
