// The ops of observe_cuda.h, for any launcher.
#pragma once

#include "kernels/cuda/range.h"
#include "kernels/integer/histogram_math.h"
#include "kernels/observe_cuda.h"

namespace halftone::kernels::cuda {

struct TrackRange {
  HALFTONE_HD void operator()(int64_t c, const RangeTotal& seen) const {
    if (!seen.finite()) {
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
};

inline TrackRange track_of(const ObserveArgs& a) {
  if ((a.scale == nullptr) != (a.zero_point == nullptr)) {
    throw HALFTONE_ERROR("observe").expected("scale and zero point, or neither").found("one");
  }
  return {a.tracking, a.decay, a.rule, a.low, a.high, a.scale, a.zero_point, a.not_finite};
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

}  // namespace halftone::kernels::cuda
