#include <limits>

#include "kernels/check.h"
#include "kernels/parallel.h"
#include "kernels/pool.h"
#include "kernels/pool_windows.h"
#include "kernels/simd.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kGrain = 16384;  // elements

int64_t row_grain(int64_t row) { return 1 + kGrain / (row + 1); }

template <class T>
constexpr T lowest() {
  return std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity()
                                              : std::numeric_limits<T>::lowest();
}

// The pixels of one window: `rows` times `columns`, their taps from `tap` on.
struct Window {
  int64_t rows, columns, row_stride, channels;
  int tap, taps_per_row;
};

// The lanes of one output pixel. The first maximum wins, and every NaN, as in PyTorch.
// The window has kSide x kSide pixels, or any number when kSide is 0.
template <class Pack, bool kTaps, int kSide>
inline void pool_lanes(const typename Pack::Element* x, const Window& window,
                       typename Pack::Element* y, uint8_t* taps) {
  using T = typename Pack::Element;
  const int64_t rows = kSide > 0 ? kSide : window.rows;
  const int64_t columns = kSide > 0 ? kSide : window.columns;
  typename Pack::Value best = Pack::value(lowest<T>());
  typename Pack::Tap winner = Pack::tap(window.tap);
  for (int64_t h = 0; h < rows; ++h) {
    for (int64_t w = 0; w < columns; ++w) {
      const auto value = Pack::load(x + h * window.row_stride + w * window.channels);
      const auto better = (value > best) | (value != value);
      best = better ? value : best;
      if (kTaps) {
        const int tap =
            window.tap + static_cast<int>(h) * window.taps_per_row + static_cast<int>(w);
        winner = better ? Pack::tap(tap) : winner;
      }
    }
  }
  Pack::store(best, y);
  if (kTaps) Pack::store_taps(winner, taps);
}

// All channels of one output pixel; `room` as for_channels has it.
template <class Pack, bool kTaps, int kSide>
inline void pool_pixel(const typename Pack::Element* x, const Window& window, int64_t room,
                       typename Pack::Element* y, uint8_t* taps) {
  using One = Single<typename Pack::Element>;
  for_channels<Pack::kLanes>(
      window.channels, room,
      [&](int64_t c) {
        pool_lanes<Pack, kTaps, kSide>(x + c, window, y + c, kTaps ? taps + c : nullptr);
      },
      [&](int64_t c) {
        pool_lanes<One, kTaps, kSide>(x + c, window, y + c, kTaps ? taps + c : nullptr);
      });
}

template <class Pack, bool kTaps>
void max_pool(const Tensor& x, const Pool2dOptions& options, Tensor& y, uint8_t* taps) {
  using T = typename Pack::Element;
  const StridedAxis hs = height_axis(x.shape(), y.shape(), options);
  const StridedAxis ws = width_axis(x.shape(), y.shape(), options);
  const int64_t channels = x.dim(3), row = ws.out * channels, size = x.numel();
  const T* in = x.data<T>();
  T* out = y.data<T>();
  parallel_for(x.context(), x.dim(0) * hs.out, row_grain(row), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t oh = r % hs.out, h = hs.begin(oh);
      const int64_t line =
          (r / hs.out * hs.in + h) * ws.in;  // pixels before the window's first row
      const int tap_row = static_cast<int>((h - oh * hs.stride + hs.pad) * ws.kernel);
      Window window{hs.end(oh) - h, 0, ws.in * channels, channels, 0, static_cast<int>(ws.kernel)};
      for (int64_t ow = 0; ow < ws.out; ++ow) {
        const int64_t w = ws.begin(ow), from = (line + w) * channels, to = r * row + ow * channels;
        window.columns = ws.end(ow) - w;
        window.tap = tap_row + static_cast<int>(w - ow * ws.stride + ws.pad);
        const int64_t last =
            (window.rows - 1) * window.row_stride + (window.columns - 1) * channels;
        const int64_t room = std::min(size - from - last, row - ow * channels);
        auto* run = window.rows == 2 && window.columns == 2 ? &pool_pixel<Pack, kTaps, 2>
                                                            : &pool_pixel<Pack, kTaps, 0>;
        run(in + from, window, room, out + to, kTaps ? taps + to : nullptr);
      }
    }
  });
}

// The windows that cover one input pixel; `tap` is the pixel's in the first of them, and falls by
// `tap_step` per window down and by the stride per window to the right.
struct Cover {
  int64_t rows, columns, row_stride, channels;
  int tap, tap_step, stride;
};

// dx = the sum over the covering windows whose winner the pixel is, in their order.
// kOne: exactly one window covers the pixel.
template <class Pack, bool kOne>
inline void gather_lanes(const float* dy, const uint8_t* taps, const Cover& cover, float* dx) {
  auto sum = Pack::value(0.0f);
  for (int64_t h = 0; h < (kOne ? 1 : cover.rows); ++h) {
    for (int64_t w = 0; w < (kOne ? 1 : cover.columns); ++w) {
      const int64_t at = h * cover.row_stride + w * cover.channels;
      const int tap =
          cover.tap - static_cast<int>(h) * cover.tap_step - static_cast<int>(w) * cover.stride;
      const auto chosen = Pack::load_taps(taps + at) == Pack::tap(tap);
      const auto passed = chosen ? Pack::load(dy + at) : Pack::value(0.0f);
      sum = kOne ? passed : sum + passed;
    }
  }
  Pack::store(sum, dx);
}

template <bool kOne>
inline void gather_pixel(const float* dy, const uint8_t* taps, const Cover& cover, int64_t room,
                         float* dx) {
  for_channels<FloatPack::kLanes>(
      cover.channels, room,
      [&](int64_t c) { gather_lanes<FloatPack, kOne>(dy + c, taps + c, cover, dx + c); },
      [&](int64_t c) { gather_lanes<Single<float>, kOne>(dy + c, taps + c, cover, dx + c); });
}

void gather_gradient(const Tensor& dy, const uint8_t* taps, const Pool2dOptions& options,
                     Tensor& dx) {
  const StridedAxis hs = height_axis(dx.shape(), dy.shape(), options);
  const StridedAxis ws = width_axis(dx.shape(), dy.shape(), options);
  const int64_t channels = dx.dim(3), row = ws.in * channels, size = dy.numel();
  const float* gradient = dy.data<float>();
  float* result = dx.data<float>();
  const Tensor table = cover_table(dx.context(), ws);
  const int32_t* columns = table.data<int32_t>();
  parallel_for(dx.context(), dx.dim(0) * hs.in, row_grain(row), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t h = r % hs.in, oh = hs.first(h);
      const int64_t line = (r / hs.in * hs.out + oh) * ws.out;
      const int64_t tap_row = (h + hs.pad - oh * hs.stride) * ws.kernel;
      Cover cover{hs.last(h) - oh,
                  0,
                  ws.out * channels,
                  channels,
                  0,
                  static_cast<int>(hs.stride * ws.kernel),
                  static_cast<int>(ws.stride)};
      for (int64_t w = 0; w < ws.in; ++w) {
        const int64_t ow = columns[2 * w], from = (line + ow) * channels;
        const int64_t to = r * row + w * channels;
        cover.columns = columns[2 * w + 1] - ow;
        cover.tap = static_cast<int>(tap_row + w + ws.pad - ow * ws.stride);
        const int64_t last = std::max<int64_t>(0, cover.rows - 1) * cover.row_stride +
                             std::max<int64_t>(0, cover.columns - 1) * channels;
        const int64_t room = std::min(size - from - last, row - w * channels);
        auto* run =
            cover.rows == 1 && cover.columns == 1 ? &gather_pixel<true> : &gather_pixel<false>;
        run(gradient + from, taps + from, cover, room, result + to);
      }
    }
  });
}

}  // namespace

void max_pool2d(const Tensor& x, const Pool2dOptions& options, Tensor& y) {
  check_pool("max_pool2d", x, options, y);
  if (x.dtype() == DType::kUInt8) return max_pool<BytePack, false>(x, options, y, nullptr);
  check_dtype("max_pool2d", "input", x, DType::kFloat32);
  max_pool<FloatPack, false>(x, options, y, nullptr);
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
  if (x.dtype() == DType::kUInt8) return max_pool<BytePack, true>(x, options, y, winners);
  check_dtype(op, "input", x, DType::kFloat32);
  max_pool<FloatPack, true>(x, options, y, winners);
}

void max_pool2d_backward(const Tensor& dy, const Tensor& taps, const Pool2dOptions& options,
                         Tensor& dx) {
  const char* op = "max_pool2d backward";
  check_dtype(op, "gradient", dy, DType::kFloat32);
  check_pool(op, dx, options, dy);
  check_dtype(op, "taps", taps, DType::kUInt8);
  check_shape(op, "taps", taps, dy.shape());
  gather_gradient(dy, taps.data<uint8_t>(), options, dx);
}

}  // namespace halftone::kernels
