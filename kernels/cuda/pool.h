// The ops of pool_cuda.h, for any launcher: one thread per output, or per input of the gradient.
#pragma once

#include "kernels/activation_math.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/pool_cuda.h"
#include "kernels/pool_windows.h"

namespace halftone::kernels::cuda {

inline StridedAxis pool_rows(const PoolGeometry& g) {
  const Pool2dOptions& o = g.options;
  return {g.h, g.oh, o.kernel_h, o.stride_h, o.pad_h, o.count_include_pad};
}
inline StridedAxis pool_columns(const PoolGeometry& g) {
  const Pool2dOptions& o = g.options;
  return {g.w, g.ow, o.kernel_w, o.stride_w, o.pad_w, o.count_include_pad};
}

// ---- maximum: the first wins, and every NaN ----

struct MaxPoolItem {
  StridedAxis hs, ws;
  ClampRule clamp;
  int64_t channels;
  const float* x;
  float* y;
  uint8_t* taps;

  HALFTONE_HD void operator()(int64_t i) const {
    const Spot s = spot(i, hs.out, ws.out, channels);
    const int64_t top = s.h * hs.stride - hs.pad, left = s.w * ws.stride - ws.pad;
    const int64_t h0 = hs.begin(s.h), w0 = ws.begin(s.w), h1 = hs.end(s.h), w1 = ws.end(s.w);
    float best = -INFINITY;
    int64_t tap = (h0 - top) * ws.kernel + (w0 - left);
    for (int64_t h = h0; h < h1; ++h) {
      for (int64_t w = w0; w < w1; ++w) {
        const float v = x[((s.n * hs.in + h) * ws.in + w) * channels + s.c];
        const bool better = (v > best) | (v != v);
        best = better ? v : best;
        tap = better ? (h - top) * ws.kernel + (w - left) : tap;
      }
    }
    y[i] = clamp.forward(best);
    if (taps != nullptr) taps[i] = static_cast<uint8_t>(tap);
  }
};

template <class Launcher>
void launch_max_pool2d(Launcher& launcher, const MaxPoolArgs& a) {
  const PoolGeometry& g = a.g;
  each(launcher, g.n * g.oh * g.ow * g.c,
       MaxPoolItem{pool_rows(g), pool_columns(g), clamp_of(g.options.act), g.c, a.x, a.y, a.taps});
}

// dx = the sum over the covering windows whose winner the input is, in their order.
struct MaxPoolBackwardItem {
  StridedAxis hs, ws;
  ClampRule clamp;
  int64_t channels;
  const float *dy, *y;
  const uint8_t* taps;
  float* dx;

  HALFTONE_HD float passed(int64_t at, int64_t tap) const {
    if (taps[at] != static_cast<uint8_t>(tap)) return 0.0f;
    return y != nullptr ? clamp.backward(dy[at], y[at]) : dy[at];
  }
  HALFTONE_HD void operator()(int64_t i) const {
    const Spot s = spot(i, hs.in, ws.in, channels);
    const int64_t h0 = hs.first(s.h), h1 = hs.last(s.h), w0 = ws.first(s.w), w1 = ws.last(s.w);
    const bool one = h1 - h0 == 1 && w1 - w0 == 1;  // its zero keeps its sign
    float sum = 0.0f;
    for (int64_t oh = h0; oh < h1; ++oh) {
      for (int64_t ow = w0; ow < w1; ++ow) {
        const int64_t at = ((s.n * hs.out + oh) * ws.out + ow) * channels + s.c;
        const int64_t tap =
            (s.h + hs.pad - oh * hs.stride) * ws.kernel + s.w + ws.pad - ow * ws.stride;
        const float g = passed(at, tap);
        sum = one ? g : sum + g;
      }
    }
    dx[i] = sum;
  }
};

template <class Launcher>
void launch_max_pool2d_backward(Launcher& launcher, const MaxPoolBackwardArgs& a) {
  const PoolGeometry& g = a.g;
  const bool masks = g.options.act.kind != Activation::kIdentity;
  each(launcher, g.n * g.h * g.w * g.c,
       MaxPoolBackwardItem{pool_rows(g), pool_columns(g), clamp_of(g.options.act), g.c, a.dy,
                           masks ? a.y : nullptr, a.taps, a.dx});
}

// ---- averages ----

template <class Axis>
struct AvgPoolItem {
  Axis hs, ws;
  int64_t channels;
  const float* x;
  float* y;

  HALFTONE_HD void operator()(int64_t i) const {
    const Spot s = spot(i, hs.out, ws.out, channels);
    float sum = 0.0f;
    for (int64_t h = hs.begin(s.h); h < hs.end(s.h); ++h) {
      for (int64_t w = ws.begin(s.w); w < ws.end(s.w); ++w) {
        sum += x[((s.n * hs.in + h) * ws.in + w) * channels + s.c];
      }
    }
    y[i] = sum / static_cast<float>(hs.divisor(s.h) * ws.divisor(s.w));
  }
};

// Sum over the covering windows of dy / divisor, in the order of the windows.
template <class Axis>
struct AvgPoolBackwardItem {
  Axis hs, ws;
  int64_t channels;
  const float* dy;
  float* dx;

  HALFTONE_HD void operator()(int64_t i) const {
    const Spot s = spot(i, hs.in, ws.in, channels);
    float sum = 0.0f;
    for (int64_t oh = hs.first(s.h); oh < hs.last(s.h); ++oh) {
      for (int64_t ow = ws.first(s.w); ow < ws.last(s.w); ++ow) {
        const float divisor =
            static_cast<float>(hs.divisor(oh)) * static_cast<float>(ws.divisor(ow));
        sum += dy[((s.n * hs.out + oh) * ws.out + ow) * channels + s.c] / divisor;
      }
    }
    dx[i] = sum;
  }
};

template <class Launcher>
void launch_avg_pool2d(Launcher& launcher, const AvgPoolArgs& a) {
  const PoolGeometry& g = a.g;
  const int64_t count = g.n * g.oh * g.ow * g.c;
  if (a.adaptive) {
    each(launcher, count, AvgPoolItem<AdaptiveAxis>{{g.h, g.oh}, {g.w, g.ow}, g.c, a.x, a.y});
  } else {
    each(launcher, count, AvgPoolItem<StridedAxis>{pool_rows(g), pool_columns(g), g.c, a.x, a.y});
  }
}

template <class Launcher>
void launch_avg_pool2d_backward(Launcher& launcher, const AvgPoolBackwardArgs& a) {
  const PoolGeometry& g = a.g;
  const int64_t count = g.n * g.h * g.w * g.c;
  if (a.adaptive) {
    each(launcher, count,
         AvgPoolBackwardItem<AdaptiveAxis>{{g.h, g.oh}, {g.w, g.ow}, g.c, a.dy, a.dx});
  } else {
    each(launcher, count,
         AvgPoolBackwardItem<StridedAxis>{pool_rows(g), pool_columns(g), g.c, a.dy, a.dx});
  }
}

}  // namespace halftone::kernels::cuda
