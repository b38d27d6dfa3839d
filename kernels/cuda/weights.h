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
    const WeightSegment& s = segments[find(t.block())];
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
    int low = 0, high = count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (segments[middle].first_row <= row ? low : high) = middle;
    }
    return low;
  }

  HALFTONE_HD static void keep(const WeightSegment& s, int64_t row, const Total& total) {
    if (s.rule == WeightRule::kAlpha) {
      s.scale[row] = static_cast<float>(total.magnitude / static_cast<double>(s.length));
      return;
    }
    if (!total.range.finite()) return;  // keeps its grid, as observe() does
    const quant_math::Grid g = quant_math::choose_grid(total.range.low, total.range.high, s.grid);
    s.scale[row] = g.scale;
    s.zero_point[row] = g.zero_point;
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
    quant_math::Grid g{s.scale[row], 0, s.qmin, s.qmax};
    if (s.rule == WeightRule::kRange) {
      g = quant_math::empty_grid(s.grid);
      g.scale = s.scale[row];
      g.zero_point = s.zero_point[row];
    }
    const SharedGrid shared(g);
    for (int64_t i = t.index(); i < s.length; i += kThreads) {
      y[i] = OnnxRule::value(w[i], shared, static_cast<float>(g.zero_point));
    }
  }

  const WeightSegment* segments;
  int count;
};

template <class Launcher>
void launch_quantize_weights(Launcher& launcher, const QuantizeWeightsArgs& a) {
  launcher.run(a.rows, WeightsBody{a.segments, a.count});
}

}  // namespace halftone::kernels::cuda
