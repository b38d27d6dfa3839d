// The gradient of the maximum.
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

// dy past the activation, whose result is y.
template <class Pack>
inline typename Pack::Value passed_gradient(const float* dy, const float* y,
                                            const ClampRule& clamp) {
  const auto zero = Pack::value(0.0f), out = Pack::load(y);
  const auto kept = out <= Pack::value(clamp.low) ? zero : Pack::load(dy);
  return out >= Pack::value(clamp.high) ? zero : kept;
}

// Where the windows tile the input: row `h` of one window gets the output pixel's gradient.
struct Tile {
  int64_t rows, columns, row_stride, channels;
  ClampRule clamp;
};

template <class Pack, int kColumns>
inline void scatter_lanes(const float* dy, const float* y, const uint8_t* taps, const Tile& tile,
                          int64_t h, float* dx) {
  const int64_t columns = kColumns > 0 ? kColumns : tile.columns;
  const auto gradient = passed_gradient<Pack>(dy, y, tile.clamp);
  const auto winner = Pack::load_taps(taps);
  for (int64_t w = 0; w < columns; ++w) {
    const auto chosen = winner == Pack::tap(static_cast<int>(h * columns + w));
    Pack::store(chosen ? gradient : Pack::value(0.0f), dx + w * tile.channels);
  }
}

// Row h of the windows of one row of outputs; `size` and `space`: values from dy and from dx on.
template <int kColumns>
void scatter_row(const float* dy, const float* y, const uint8_t* taps, const Tile& tile, int64_t h,
                 int64_t size, int64_t space, float* dx) {
  const int64_t step = tile.columns * tile.channels, last = step - tile.channels;
  for (int64_t to = 0, from = 0; to < tile.row_stride; to += step, from += tile.channels) {
    for_channels<FloatPack::kLanes>(
        tile.channels, std::min(size - from, space - to - last),
        [&](int64_t c) {
          scatter_lanes<FloatPack, kColumns>(dy + from + c, y + from + c, taps + from + c, tile, h,
                                             dx + to + c);
        },
        [&](int64_t c) {
          scatter_lanes<Single<float>, kColumns>(dy + from + c, y + from + c, taps + from + c, tile,
                                                 h, dx + to + c);
        });
  }
}

void scatter_gradient(const Tensor& dy, const float* y, const uint8_t* taps,
                      const Pool2dOptions& options, Tensor& dx) {
  const int64_t channels = dx.dim(3), row = dy.dim(2) * channels, size = dy.numel();
  const Tile tile{options.kernel_h, options.kernel_w, dx.dim(2) * channels, channels,
                  clamp_of(options.act)};
  auto* run = tile.columns == 2 ? &scatter_row<2> : &scatter_row<0>;
  const float* gradient = dy.data<float>();
  float* result = dx.data<float>();
  parallel_for(dx.context(), dx.dim(0) * dx.dim(1), 1 + kGrain / (tile.row_stride + 1),
               [=](int64_t begin, int64_t end) {
                 for (int64_t r = begin; r < end; ++r) {
                   const int64_t from = r / tile.rows * row, to = r * tile.row_stride;
                   run(gradient + from, y + from, taps + from, tile, r % tile.rows, size - from,
                       end * tile.row_stride - to, result + to);
                 }
               });
}

// The windows that cover one input pixel; `tap` is the pixel's in the first of them, and falls by
// `tap_step` per window down and by the stride per window to the right.
struct Cover {
  int64_t rows, columns, row_stride, channels;
  int tap, tap_step, stride;
  ClampRule clamp;
};

// dx = the sum over the covering windows whose winner the pixel is, in their order.
// kOne: exactly one window covers the pixel.
template <class Pack, bool kOne>
inline void gather_lanes(const float* dy, const float* y, const uint8_t* taps, const Cover& cover,
                         float* dx) {
  auto sum = Pack::value(0.0f);
  for (int64_t h = 0; h < (kOne ? 1 : cover.rows); ++h) {
    for (int64_t w = 0; w < (kOne ? 1 : cover.columns); ++w) {
      const int64_t at = h * cover.row_stride + w * cover.channels;
      const int tap =
          cover.tap - static_cast<int>(h) * cover.tap_step - static_cast<int>(w) * cover.stride;
      const auto chosen = Pack::load_taps(taps + at) == Pack::tap(tap);
      const auto passed =
          chosen ? passed_gradient<Pack>(dy + at, y + at, cover.clamp) : Pack::value(0.0f);
      sum = kOne ? passed : sum + passed;
    }
  }
  Pack::store(sum, dx);
}

template <bool kOne>
inline void gather_pixel(const float* dy, const float* y, const uint8_t* taps, const Cover& cover,
                         int64_t room, float* dx) {
  for_channels<FloatPack::kLanes>(
      cover.channels, room,
      [&](int64_t c) { gather_lanes<FloatPack, kOne>(dy + c, y + c, taps + c, cover, dx + c); },
      [&](int64_t c) {
        gather_lanes<Single<float>, kOne>(dy + c, y + c, taps + c, cover, dx + c);
      });
}

void gather_gradient(const Tensor& dy, const float* y, const uint8_t* taps,
                     const Pool2dOptions& options, Tensor& dx) {
  const StridedAxis hs = height_axis(dx.shape(), dy.shape(), options);
  const StridedAxis ws = width_axis(dx.shape(), dy.shape(), options);
  const int64_t channels = dx.dim(3), row = ws.in * channels, size = dy.numel();
  const float* gradient = dy.data<float>();
  float* result = dx.data<float>();
  const ClampRule clamp = clamp_of(options.act);
  const Tensor table = cover_table(dx.context(), ws);
  const int32_t* columns = table.data<int32_t>();
  parallel_for(
      dx.context(), dx.dim(0) * hs.in, 1 + kGrain / (row + 1), [=](int64_t begin, int64_t end) {
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
                      static_cast<int>(ws.stride),
                      clamp};
          for (int64_t w = 0; w < ws.in; ++w) {
            const int64_t ow = columns[2 * w], from = (line + ow) * channels;
            const int64_t to = r * row + w * channels;
            cover.columns = columns[2 * w + 1] - ow;
            cover.tap = static_cast<int>(tap_row + w + ws.pad - ow * ws.stride);
            const int64_t last = std::max<int64_t>(0, cover.rows - 1) * cover.row_stride +
                                 std::max<int64_t>(0, cover.columns - 1) * channels;
            const int64_t room = std::min(size - from - last, end * row - to);
            auto* run =
                cover.rows == 1 && cover.columns == 1 ? &gather_pixel<true> : &gather_pixel<false>;
            run(gradient + from, y + from, taps + from, cover, room, result + to);
          }
        }
      });
}

}  // namespace

void max_pool2d_backward(const Tensor& dy, const Tensor& y, const Tensor& taps,
                         const Pool2dOptions& options, Tensor& dx) {
  const char* op = "max_pool2d backward";
  check_dtype(op, "gradient", dy, DType::kFloat32);
  check_pool(op, dx, options, dy);
  check_dtype(op, "taps", taps, DType::kUInt8);
  check_shape(op, "taps", taps, dy.shape());
  const bool reads_y = options.act.kind != Activation::kIdentity;
  if (reads_y) check_same(op, dy, y);
  HALFTONE_ON_DEVICE(max_pool2d_backward, dy, dy, y, taps, options, dx);
  const bool tiles = height_axis(dx.shape(), dy.shape(), options).tiles() &&
                     width_axis(dx.shape(), dy.shape(), options).tiles();
  // No bound binds where there is no activation: any values do.
  const float* out = (reads_y ? y : dy).data<float>();
  (tiles ? scatter_gradient : gather_gradient)(dy, out, taps.data<uint8_t>(), options, dx);
}

}  // namespace halftone::kernels
