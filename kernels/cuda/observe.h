// The ops of observe_cuda.h, for any launcher.
#pragma once

#include "kernels/cuda/each.h"
#include "kernels/cuda/range.h"
#include "kernels/integer/histogram_math.h"
#include "kernels/observe_cuda.h"

namespace halftone::kernels::cuda {

struct TrackRange {
  HALFTONE_HD void operator()(int64_t c, const RangeTotal& seen) const {
    if (!seen.finite() || fmaxf(-seen.low, seen.high) > largest) {
      if (not_finite != nullptr) *not_finite = 1;
      return;
    }
    float lo = low[c], hi = high[c];
    if (tracking == Tracking::kCurrent || !(lo <= hi)) {
      lo = seen.low, hi = seen.high;
    } else if (tracking == Tracking::kMinMax) {
      lo = seen.low < lo ? seen.low : lo;
      hi = seen.high > hi ? seen.high : hi;
    } else {
      lo = quant_math::ema(lo, seen.low, decay);
      hi = quant_math::ema(hi, seen.high, decay);
    }
    low[c] = lo;
    high[c] = hi;
    if (scale == nullptr) return;
    const quant_math::Grid g = quant_math::choose_grid(lo, hi, rule);
    scale[c] = g.scale;
    zero_point[c] = g.zero_point;
  }

  Tracking tracking;
  double decay;
  quant_math::GridRule rule;
  float *low, *high, *scale;
  int32_t *zero_point, *not_finite;
  float largest;
};

inline TrackRange track_of(const ObserveArgs& a) {
  if ((a.scale == nullptr) != (a.zero_point == nullptr)) {
    throw HALFTONE_ERROR("observe").expected("scale and zero point, or neither").found("one");
  }
  return {a.tracking, a.decay,      a.rule,       a.low,    a.high,
          a.scale,    a.zero_point, a.not_finite, a.largest};
}

template <class Launcher>
void launch_observe(Launcher& launcher, const ObserveArgs& a) {
  const TrackRange track = track_of(a);
  with_float_type("observe", a.dtype, [&](auto type) {
    using T = decltype(type);
    reduce_values<T, RangeTotal>(launcher, static_cast<const T*>(a.x), a.layout, track);
  });
}

// ---- histogram ----

constexpr int kMaxBins = 8192;

// Each block counts into shared memory and adds that to the result: integers, so in any order.
template <class T>
struct HistogramBody {
  static constexpr int kShared = kMaxBins * sizeof(uint32_t);
  static constexpr int kWidth = 16 / sizeof(T);

  // What walk_packs wants of an op.
  template <class Thread>
  struct CountOp : ReduceOp<T> {
    using Base = ReduceOp<T>;
    using Constants = quant_math::Bins;
    using Tile = Nothing;
    HALFTONE_HD void apply(int j, const typename Base::Input& in, const Constants& b,
                           typename Base::Output&, Nothing&) const {
      const int bin = b.of(to_float(in.x.v[j]));
      if (bin >= 0) thread->add(counts + bin, uint32_t{1});
    }
    const Thread* thread;
    uint32_t* counts;
  };

  template <class Thread>
  HALFTONE_HD void operator()(const Thread& t) const {
    uint32_t* mine = t.template shared<uint32_t>();
    for (int b = t.index(); b < bins; b += kThreads) mine[b] = 0;
    t.sync();
    const RowsPlace p = rows_place(t, g, kWidth);
    const quant_math::Bins parts = quant_math::bins_of(*low, *high, bins);
    CountOp<Thread> op{};
    op.x = x;
    op.thread = &t;
    op.counts = mine;
    if (p.any) {
      Nothing nothing;
      walk_packs<1>(op, p.first, static_cast<int64_t>(g.lanes) * kWidth, p.begin, p.end,
                    g.lead >= 0, &parts, &nothing);
    }
    t.sync();
    for (int b = t.index(); b < bins; b += kThreads) {
      if (mine[b] != 0) t.add(counts + b, static_cast<uint64_t>(mine[b]));
    }
  }

  const T* x;
  const float *low, *high;
  int bins;
  uint64_t* counts;
  RowsGeometry g;
};

template <class Launcher>
void launch_add_histogram(Launcher& launcher, const HistogramArgs& a) {
  if (a.bins < 1 || a.bins > kMaxBins) {
    throw HALFTONE_ERROR("histogram")
        .expected("1 to " + std::to_string(kMaxBins) + " bins")
        .found(std::to_string(a.bins));
  }
  with_float_type("histogram", a.dtype, [&](auto type) {
    using T = decltype(type);
    HistogramBody<T> body{static_cast<const T*>(a.x), a.low, a.high, a.bins, a.counts, {}};
    const int lead = common_lead(ArrayList<1>{{{a.x, sizeof(T)}}}, body.kWidth);
    body.g =
        rows_geometry({1, 1, a.numel}, {body.kWidth, ReduceOp<T>::kUnroll}, lead, kReduceBlocks);
    launcher.run(body.g.blocks(), body);
  });
}

// ---- widening, by one block ----

constexpr int kMaxWidenedBins = 4096;

struct WidenExactBody {
  static constexpr int kShared = kMaxWidenedBins * sizeof(uint64_t);

  template <class Thread>
  HALFTONE_HD void operator()(const Thread& t) const {
    if (!(*a.low <= *a.high)) return;
    const float most = fmaxf(-*a.low, *a.high);
    float end = a.range[1];
    if (most > 0.0f && end == 0.0f) end = most;
    for (; most > end; end *= 2.0f) merge_pairs(t);
    t.sync();  // all have read the range
    if (t.index() == 0) a.range[0] = -end, a.range[1] = end;
  }

  template <class Thread>
  HALFTONE_HD void merge_pairs(const Thread& t) const {
    uint64_t* old = t.template shared<uint64_t>();
    for (int b = t.index(); b < a.bins; b += kThreads) old[b] = a.exact_counts[b];
    t.sync();
    for (int b = t.index(); b < a.bins; b += kThreads) {
      const int first = 2 * (b - a.bins / 4);
      const bool inside = first >= 0 && first < a.bins;
      a.exact_counts[b] = inside ? old[first] + old[first + 1] : 0;
    }
    t.sync();
  }

  WidenHistogramArgs a;
};

struct WidenRangeBody {
  static constexpr int kShared = kMaxWidenedBins * (sizeof(float) + sizeof(double));

  template <class Thread>
  HALFTONE_HD void operator()(const Thread& t) const {
    const float low = *a.low, high = *a.high, old_low = a.range[0], old_high = a.range[1];
    if (!(low <= high)) return;
    t.sync();  // all have read the range
    if (old_low > old_high) {
      if (t.index() == 0) a.range[0] = low, a.range[1] = high;
      return;
    }
    if (low >= old_low && high <= old_high) return;
    const quant_math::Widening w =
        quant_math::widening(smaller(low, old_low), high > old_high ? high : old_high, old_low,
                             old_high, a.bins, a.upsample);
    double* sums = t.template shared<double>();
    float* old = reinterpret_cast<float*>(sums + kMaxWidenedBins);
    for (int b = t.index(); b < a.bins; b += kThreads) old[b] = a.counts[b], sums[b] = 0.0;
    t.sync();
    w.collapses ? collapse(t, w, old, sums) : spread(t, w, old);
    if (t.index() == 0) a.range[0] = w.low, a.range[1] = w.high;
  }

  template <class Thread>
  HALFTONE_HD void spread(const Thread& t, const quant_math::Widening& w, const float* old) const {
    for (int b = t.index(); b < a.bins; b += kThreads)
      a.counts[b] = quant_math::spread_count(old, a.bins, w, b);
  }

  // In the order of the bins.
  template <class Thread>
  HALFTONE_HD void collapse(const Thread& t, const quant_math::Widening& w, const float* old,
                            double* sums) const {
    for (int b = 0; b < a.bins && t.index() == 0; ++b)
      sums[quant_math::collapsed_bin(b, a.bins, w)] += static_cast<double>(old[b]);
    t.sync();
    for (int b = t.index(); b < a.bins; b += kThreads) a.counts[b] = static_cast<float>(sums[b]);
  }

  WidenHistogramArgs a;
};

template <class Launcher>
void launch_widen_histogram(Launcher& launcher, const WidenHistogramArgs& a) {
  if (a.bins < 4 || a.bins % 4 != 0 || a.bins > kMaxWidenedBins) {
    throw HALFTONE_ERROR("widen_histogram")
        .expected("bins divisible by 4, up to " + std::to_string(kMaxWidenedBins))
        .found(std::to_string(a.bins));
  }
  a.exact_counts != nullptr ? launcher.run(1, WidenExactBody{a})
                            : launcher.run(1, WidenRangeBody{a});
}

struct MoveCountItem {
  MoveCountsArgs a;
  HALFTONE_HD void operator()(int64_t b) const {
    a.counts[b] += static_cast<float>(a.more[b]);
    a.more[b] = 0;
  }
};

template <class Launcher>
void launch_move_counts(Launcher& launcher, const MoveCountsArgs& a) {
  each(launcher, a.bins, MoveCountItem{a});
}

}  // namespace halftone::kernels::cuda
