#include <limits>
#include <type_traits>

#include "kernels/activation_math.h"
#include "kernels/check.h"
#include "kernels/device.h"
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

// A maximum so far and the tap it came from.
template <class Pack>
struct Best {
  typename Pack::Value value;
  typename Pack::Tap tap;
};

// The first maximum wins, and every NaN, as in PyTorch.
template <class Pack>
inline Best<Pack> larger(const Best<Pack>& a, const Best<Pack>& b) {
  const auto better = (b.value > a.value) | (b.value != b.value);
  return {better ? b.value : a.value, better ? b.tap : a.tap};
}

// The lanes of one output pixel, whose window is 2 x 2 pixels or, where kPairs is false, anything.
// The activation comes last: it keeps the order, and where it binds no tap gets a gradient.
template <class Pack, bool kTaps, bool kClamps, bool kPairs>
inline void pool_lanes(const typename Pack::Element* x, const Window& window,
                       typename Pack::Element* y, uint8_t* taps) {
  using T = typename Pack::Element;
  const auto pixel = [&](int64_t h, int64_t w, int tap) {
    return Best<Pack>{Pack::load(x + h * window.row_stride + w * window.channels), Pack::tap(tap)};
  };
  Best<Pack> best{Pack::value(lowest<T>()), Pack::tap(window.tap)};
  if (kPairs) {
    best = larger(larger(pixel(0, 0, 0), pixel(0, 1, 1)), larger(pixel(1, 0, 2), pixel(1, 1, 3)));
  } else {
    for (int64_t h = 0; h < window.rows; ++h) {
      const int tap = window.tap + static_cast<int>(h) * window.taps_per_row;
      for (int64_t w = 0; w < window.columns; ++w) {
        best = larger(best, pixel(h, w, tap + static_cast<int>(w)));
      }
    }
  }
  if constexpr (kClamps) {
    const auto low = Pack::value(window.clamp.low), high = Pack::value(window.clamp.high);
    best.value = best.value < low ? low : best.value;
    best.value = best.value > high ? high : best.value;
  }
  Pack::store(best.value, y);
  if (kTaps) Pack::store_taps(best.tap, taps);
}

// All channels of one output pixel; `room` as for_channels has it.
template <class Pack, bool kTaps, bool kClamps, bool kPairs>
inline void pool_pixel(const typename Pack::Element* x, const Window& window, int64_t room,
                       typename Pack::Element* y, uint8_t* taps) {
  using One = Single<typename Pack::Element>;
  for_channels<Pack::kLanes>(
      window.channels, room,
      [&](int64_t c) {
        pool_lanes<Pack, kTaps, kClamps, kPairs>(x + c, window, y + c, kTaps ? taps + c : nullptr);
      },
      [&](int64_t c) {
        pool_lanes<One, kTaps, kClamps, kPairs>(x + c, window, y + c, kTaps ? taps + c : nullptr);
      });
}

// Adjacent output pixels of one row.
template <class T>
struct PixelRun {
  int64_t count;
  const T* x;
  int64_t x_step, x_room;  // to the next window; elements from x on, less the window's reach
  T* y;
  int64_t y_room;
  uint8_t* taps;
};

// Windows of 2 x 2 pixels that lie inside the image.
template <class Pack, bool kTaps, bool kClamps>
void pool_pairs(PixelRun<typename Pack::Element> run, const Window window) {
  for (; run.count > 0; --run.count) {
    pool_pixel<Pack, kTaps, kClamps, true>(run.x, window, std::min(run.x_room, run.y_room), run.y,
                                           run.taps);
    run.x += run.x_step, run.x_room -= run.x_step;
    run.y += window.channels, run.y_room -= window.channels;
    if (kTaps) run.taps += window.channels;
  }
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
      const auto run_from = [&](int64_t ow, int64_t count) {
        const int64_t w = ws.begin(ow), from = (line + w) * channels, to = r * row + ow * channels;
        window.columns = ws.end(ow) - w;
        window.tap = tap_row + static_cast<int>(w - ow * ws.stride + ws.pad);
        const int64_t reach =
            (window.rows - 1) * window.row_stride + (window.columns - 1) * channels;
        return PixelRun<T>{
            count,    in + from,      ws.stride * channels,       size - from - reach,
            out + to, end * row - to, kTaps ? taps + to : nullptr};
      };
      const auto one_by_one = [&](int64_t first, int64_t last) {
        for (int64_t ow = first; ow < last; ++ow) {
          const PixelRun<T> p = run_from(ow, 1);
          pool_pixel<Pack, kTaps, kClamps, false>(p.x, window, std::min(p.x_room, p.y_room), p.y,
                                                  p.taps);
        }
      };
      const bool pairs = hs.kernel == 2 && ws.kernel == 2 && window.rows == 2;
      const int64_t first = pairs ? ws.first_whole() : ws.out;
      const int64_t last = pairs ? std::max(first, ws.last_whole()) : ws.out;
      one_by_one(0, first);
      if (first < last) pool_pairs<Pack, kTaps, kClamps>(run_from(first, last - first), window);
      one_by_one(last, ws.out);
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
  HALFTONE_ON_DEVICE(max_pool2d, x, x, options, y);
  max_pool<false>("max_pool2d", x, options, y, nullptr);
}

void max_pool2d_with_taps(const Tensor& x, const Pool2dOptions& options, Tensor& y, Tensor& taps) {
  const char* op = "max_pool2d";
  check_pool(op, x, options, y);
  check_taps(op, options, y, taps);
  HALFTONE_ON_DEVICE(max_pool2d_with_taps, x, x, options, y, taps);
  max_pool<true>(op, x, options, y, taps.data<uint8_t>());
}

}  // namespace halftone::kernels
