#include <limits>
#include <type_traits>

#include "kernels/activation_math.h"
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
  ClampRule clamp;
};

// The lanes of one output pixel. The first maximum wins, and every NaN, as in PyTorch.
// The window is whole, kSide x kSide pixels, or anything when kSide is 0.
template <class Pack, bool kTaps, bool kClamps, int kSide>
inline void pool_lanes(const typename Pack::Element* x, const Window& window,
                       typename Pack::Element* y, uint8_t* taps) {
  using T = typename Pack::Element;
  const int64_t rows = kSide > 0 ? kSide : window.rows;
  const int64_t columns = kSide > 0 ? kSide : window.columns;
  const int first_tap = kSide > 0 ? 0 : window.tap;
  const int taps_per_row = kSide > 0 ? kSide : window.taps_per_row;
  typename Pack::Value best = Pack::value(lowest<T>());
  typename Pack::Tap winner = Pack::tap(first_tap);
  for (int64_t h = 0; h < rows; ++h) {
    for (int64_t w = 0; w < columns; ++w) {
      auto value = Pack::load(x + h * window.row_stride + w * window.channels);
      if constexpr (kClamps) {
        const auto low = Pack::value(window.clamp.low), high = Pack::value(window.clamp.high);
        value = value < low ? low : value;
        value = value > high ? high : value;
      }
      const auto better = (value > best) | (value != value);
      best = better ? value : best;
      if (kTaps) {
        const int tap = first_tap + static_cast<int>(h) * taps_per_row + static_cast<int>(w);
        winner = better ? Pack::tap(tap) : winner;
      }
    }
  }
  Pack::store(best, y);
  if (kTaps) Pack::store_taps(winner, taps);
}

// All channels of one output pixel; `room` as for_channels has it.
template <class Pack, bool kTaps, bool kClamps, int kSide>
inline void pool_pixel(const typename Pack::Element* x, const Window& window, int64_t room,
                       typename Pack::Element* y, uint8_t* taps) {
  using One = Single<typename Pack::Element>;
  for_channels<Pack::kLanes>(
      window.channels, room,
      [&](int64_t c) {
        pool_lanes<Pack, kTaps, kClamps, kSide>(x + c, window, y + c, kTaps ? taps + c : nullptr);
      },
      [&](int64_t c) {
        pool_lanes<One, kTaps, kClamps, kSide>(x + c, window, y + c, kTaps ? taps + c : nullptr);
      });
}

template <class Pack, bool kTaps, bool kClamps>
void max_pool(const Tensor& x, const Pool2dOptions& options, Tensor& y, uint8_t* taps) {
  using T = typename Pack::Element;
  const StridedAxis hs = height_axis(x.shape(), y.shape(), options);
  const StridedAxis ws = width_axis(x.shape(), y.shape(), options);
  const int64_t channels = x.dim(3), row = ws.out * channels, size = x.numel();
  const ClampRule clamp = clamp_of(options.act);
  const T* in = x.data<T>();
  T* out = y.data<T>();
  parallel_for(x.context(), x.dim(0) * hs.out, row_grain(row), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t oh = r % hs.out, h = hs.begin(oh);
      const int64_t line =
          (r / hs.out * hs.in + h) * ws.in;  // pixels before the window's first row
      const int tap_row = static_cast<int>((h - oh * hs.stride + hs.pad) * ws.kernel);
      Window window{hs.end(oh) - h, 0, ws.in * channels, channels, 0, static_cast<int>(ws.kernel),
                    clamp};
      const auto pixels = [&](auto side, int64_t first, int64_t last) {
        for (int64_t ow = first; ow < last; ++ow) {
          const int64_t w = ws.begin(ow), from = (line + w) * channels,
                        to = r * row + ow * channels;
          window.columns = ws.end(ow) - w;
          window.tap = tap_row + static_cast<int>(w - ow * ws.stride + ws.pad);
          const int64_t reach =
              (window.rows - 1) * window.row_stride + (window.columns - 1) * channels;
          pool_pixel<Pack, kTaps, kClamps, side>(in + from, window,
                                                 std::min(size - from - reach, end * row - to),
                                                 out + to, kTaps ? taps + to : nullptr);
        }
      };
      const bool pairs = hs.kernel == 2 && ws.kernel == 2 && window.rows == 2;
      const int64_t first = pairs ? ws.first_whole() : ws.out;
      const int64_t last = pairs ? std::max(first, ws.last_whole()) : ws.out;
      pixels(std::integral_constant<int, 0>(), 0, first);
      pixels(std::integral_constant<int, 2>(), first, last);
      pixels(std::integral_constant<int, 0>(), last, ws.out);
    }
  });
}

// For any element type and, in floats, activation.
template <bool kTaps>
void max_pool(const char* op, const Tensor& x, const Pool2dOptions& options, Tensor& y,
              uint8_t* taps) {
  const bool clamps = options.act.kind != Activation::kIdentity;
  if (x.dtype() == DType::kUInt8 && !clamps) {
    return max_pool<BytePack, kTaps, false>(x, options, y, taps);
  }
  check_dtype(op, "input", x, DType::kFloat32);
  (clamps ? max_pool<FloatPack, kTaps, true> : max_pool<FloatPack, kTaps, false>)(x, options, y,
                                                                                  taps);
}

}  // namespace

void max_pool2d(const Tensor& x, const Pool2dOptions& options, Tensor& y) {
  check_pool("max_pool2d", x, options, y);
  max_pool<false>("max_pool2d", x, options, y, nullptr);
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
  max_pool<true>(op, x, options, y, taps.data<uint8_t>());
}

}  // namespace halftone::kernels
