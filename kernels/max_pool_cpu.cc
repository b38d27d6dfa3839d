#include <limits>

#include "kernels/check.h"
#include "kernels/parallel.h"
#include "kernels/pool.h"
#include "kernels/pool_windows.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kGrain = 32768;  // elements

int64_t row_grain(int64_t row) { return 1 + kGrain / (row + 1); }

template <class T>
T lowest() {
  return std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity()
                                              : std::numeric_limits<T>::lowest();
}

// best = max(best, x), first maximum and NaN win; tap follows when taps are wanted.
template <class T, bool kTaps>
inline void take(const T* x, int64_t n, uint8_t tap, T* best, uint8_t* taps) {
#pragma GCC ivdep
  for (int64_t c = 0; c < n; ++c) {
    const T value = x[c], old = best[c];
    const bool better = (value > old) | (value != value);
    best[c] = better ? value : old;
    if (kTaps) taps[c] = better ? tap : taps[c];
  }
}

// One output pixel from its window.
template <class T, bool kTaps>
void pool_pixel(const T* image, const StridedAxis& hs, const StridedAxis& ws, int64_t oh,
                int64_t ow, int64_t channels, T* y, uint8_t* taps) {
  const int64_t h0 = oh * hs.stride - hs.pad, w0 = ow * ws.stride - ws.pad;
  auto tap = [&](int64_t h, int64_t w) {
    return static_cast<uint8_t>((h - h0) * ws.kernel + (w - w0));
  };
  std::fill(y, y + channels, lowest<T>());
  if (kTaps) std::fill(taps, taps + channels, tap(hs.begin(oh), ws.begin(ow)));
  for (int64_t h = hs.begin(oh); h < hs.end(oh); ++h) {
    for (int64_t w = ws.begin(ow); w < ws.end(ow); ++w) {
      take<T, kTaps>(image + (h * ws.in + w) * channels, channels, tap(h, w), y, taps);
    }
  }
}

template <class T, bool kTaps>
void max_pool(const Tensor& x, const Pool2dOptions& options, Tensor& y, uint8_t* taps) {
  const StridedAxis hs = height_axis(x.shape(), y.shape(), options);
  const StridedAxis ws = width_axis(x.shape(), y.shape(), options);
  const int64_t channels = x.dim(3), row = ws.out * channels;
  const T* in = x.data<T>();
  T* out = y.data<T>();
  parallel_for(x.context(), x.dim(0) * hs.out, row_grain(row), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* image = in + r / hs.out * hs.in * ws.in * channels;
      for (int64_t ow = 0; ow < ws.out; ++ow) {
        const int64_t at = r * row + ow * channels;
        pool_pixel<T, kTaps>(image, hs, ws, r % hs.out, ow, channels, out + at, taps + at);
      }
    }
  });
}

// dx of one input pixel: the sum over the windows that chose it, in the order of the windows.
void gather_pixel(const float* dy, const uint8_t* taps, const StridedAxis& hs,
                  const StridedAxis& ws, int64_t h, int64_t w, int64_t channels, float* dx) {
  bool first = true;
  for (int64_t oh = hs.first(h); oh < hs.last(h); ++oh) {
    for (int64_t ow = ws.first(w); ow < ws.last(w); ++ow) {
      const int64_t row = h + hs.pad - oh * hs.stride, column = w + ws.pad - ow * ws.stride;
      const uint8_t tap = static_cast<uint8_t>(row * ws.kernel + column);
      const float* g = dy + (oh * ws.out + ow) * channels;
      const uint8_t* t = taps + (oh * ws.out + ow) * channels;
      if (first) {
        for (int64_t c = 0; c < channels; ++c) dx[c] = t[c] == tap ? g[c] : 0.0f;
      } else {
        for (int64_t c = 0; c < channels; ++c) dx[c] += t[c] == tap ? g[c] : 0.0f;
      }
      first = false;
    }
  }
  if (first) std::fill(dx, dx + channels, 0.0f);
}

}  // namespace

void max_pool2d(const Tensor& x, const Pool2dOptions& options, Tensor& y) {
  check_pool("max_pool2d", x, options, y);
  if (x.dtype() == DType::kUInt8) return max_pool<uint8_t, false>(x, options, y, nullptr);
  check_dtype("max_pool2d", "input", x, DType::kFloat32);
  max_pool<float, false>(x, options, y, nullptr);
}

void max_pool2d_with_taps(const Tensor& x, const Pool2dOptions& options, Tensor& y, Tensor& taps) {
  const char* op = "max_pool2d";
  check_pool(op, x, options, y);
  check_dtype(op, "taps", taps, DType::kUInt8);
  check_shape(op, "taps", taps, y.shape());
  if (options.kernel_h * options.kernel_w > 256) {
    throw HALFTONE_ERROR(op)
        .expected("a window of at most 256 pixels")
        .found(std::to_string(options.kernel_h) + "x" + std::to_string(options.kernel_w));
  }
  uint8_t* winners = taps.data<uint8_t>();
  if (x.dtype() == DType::kUInt8) return max_pool<uint8_t, true>(x, options, y, winners);
  check_dtype(op, "input", x, DType::kFloat32);
  max_pool<float, true>(x, options, y, winners);
}

void max_pool2d_backward(const Tensor& dy, const Tensor& taps, const Pool2dOptions& options,
                         Tensor& dx) {
  const char* op = "max_pool2d backward";
  check_dtype(op, "gradient", dy, DType::kFloat32);
  check_pool(op, dx, options, dy);
  check_dtype(op, "taps", taps, DType::kUInt8);
  check_shape(op, "taps", taps, dy.shape());
  const StridedAxis hs = height_axis(dx.shape(), dy.shape(), options);
  const StridedAxis ws = width_axis(dx.shape(), dy.shape(), options);
  const int64_t channels = dx.dim(3), row = ws.in * channels;
  const float* gradient = dy.data<float>();
  const uint8_t* winners = taps.data<uint8_t>();
  float* result = dx.data<float>();
  parallel_for(dx.context(), dx.dim(0) * hs.in, row_grain(row), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t image = r / hs.in * hs.out * ws.out * channels;
      for (int64_t w = 0; w < ws.in; ++w) {
        gather_pixel(gradient + image, winners + image, hs, ws, r % hs.in, w, channels,
                     result + r * row + w * channels);
      }
    }
  });
}

}  // namespace halftone::kernels
