// The op of weights_cuda.h, for any launcher.
#pragma once

#include "kernels/cuda/grids.h"
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

  template <class Thread>
  HALFTONE_HD void operator()(const Thread& t) const {
    const WeightSegment& s = a.segments[find(t.block())];
    const int64_t row = t.block() - s.first_row;
    const float* w = s.w + row * s.length;
    Total* totals = t.template shared<Total>();
    if (s.rule == WeightRule::kAlpha || s.rule == WeightRule::kRange) {
      Total total{};
      for (int64_t i = t.index(); i < s.length; i += kThreads) {
        total.range.see(w[i]);
        total.magnitude += static_cast<double>(fabsf(w[i]));
      }
      totals[t.index()] = total;
      merge_places(t, totals + t.index(), t.index(), kThreads, 1);
      if (t.index() == 0) keep(s, row, totals[0]);
    }
    // Through memory: what thread 0 wrote is seen after it.
    t.fence();
    t.sync();
    write(t, s, row, w);
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
      for (int64_t i = t.index(); i < s.length; i += kThreads) {
        y[i] = alpha * quant_math::binary_sign(w[i]);
      }
      return;
    }
    const quant_math::Grid g = grid_of(s, row);
    const SharedGrid shared(g);
    if (s.result != WeightResult::kReals) return write_integers(t, s, row, shared);
    for (int64_t i = t.index(); i < s.length; i += kThreads) {
      y[i] = OnnxRule::value(w[i], shared, static_cast<float>(g.zero_point));
    }
  }

  template <class Thread>
  HALFTONE_HD void write_integers(const Thread& t, const WeightSegment& s, int64_t row,
                                  const SharedGrid& grid) const {
    const bool negated = s.gamma != nullptr && s.gamma[row] < 0.0f;
    const int32_t factor = (negated ? -1 : 1) * (1 << s.shift);
    for (int64_t k = t.index(); k < s.length; k += kThreads) {
      const int64_t i = row * s.length + k;
      const int32_t v = OnnxRule::code(s.w[i], grid, 0) * factor;  // code - zero point
      s.y[i] = static_cast<float>(v);
      if (s.result != WeightResult::kParts) continue;
      const int32_t top = (v + 8) >> 4;  // floor((v + 8) / 16)
      s.high[i] = static_cast<float>(top);
      s.low[i] = static_cast<float>(v - 16 * top);
    }
  }

  QuantizeWeightsArgs a;
};

template <class Launcher>
void launch_quantize_weights(Launcher& launcher, const QuantizeWeightsArgs& a) {
  launcher.run(a.rows, WeightsBody{a});
}

}  // namespace halftone::kernels::cuda
