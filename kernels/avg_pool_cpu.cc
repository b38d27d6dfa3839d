#include <algorithm>

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

// `rows` times `columns` pixels, in elements from one to the next.
struct Block {
  int64_t rows, columns, row_stride, channels;
  int64_t last() const {
    return std::max<int64_t>(0, rows - 1) * row_stride +
           std::max<int64_t>(0, columns - 1) * channels;
  }
};

template <class Pack>
inline void average_lanes(const float* x, const Block& block, float divisor, float* y) {
  auto sum = Pack::value(0.0f);
  for (int64_t h = 0; h < block.rows; ++h) {
    for (int64_t w = 0; w < block.columns; ++w) {
      sum += Pack::load(x + h * block.row_stride + w * block.channels);
    }
  }
  Pack::store(sum / divisor, y);
}

// y = sum over the window / divisor. x (N, H, W, C); Axis is Strided or Adaptive.
template <class Axis>
void average(const Tensor& x, const Axis& hs, const Axis& ws, Tensor& y) {
  const int64_t channels = x.dim(3), row = ws.out * channels, size = x.numel();
  const float* in = x.data<float>();
  float* out = y.data<float>();
  const int64_t work = x.numel() / std::max<int64_t>(1, x.dim(0) * hs.out);  // inputs per row of y
  parallel_for(x.context(), x.dim(0) * hs.out, row_grain(work), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t oh = r % hs.out, h = hs.begin(oh), line = (r / hs.out * hs.in + h) * ws.in;
      Block block{hs.end(oh) - h, 0, ws.in * channels, channels};
      for (int64_t ow = 0; ow < ws.out; ++ow) {
        const int64_t w = ws.begin(ow), from = (line + w) * channels, to = r * row + ow * channels;
        block.columns = ws.end(ow) - w;
        const float divisor = static_cast<float>(hs.divisor(oh) * ws.divisor(ow));
        const int64_t room = std::min(size - from - block.last(), row - ow * channels);
        for_channels<FloatPack::kLanes>(
            channels, room,
            [&](int64_t c) {
              average_lanes<FloatPack>(in + from + c, block, divisor, out + to + c);
            },
            [&](int64_t c) {
              average_lanes<Single<float>>(in + from + c, block, divisor, out + to + c);
            });
      }
    }
  });
}

// Sum over the covering windows of dy / divisor, in the order of the windows. A divisor is the
// product of its row's and its column's.
template <class Pack>
inline void spread_lanes(const float* dy, const Block& block, const float* row_divisors,
                         const float* column_divisors, float* dx) {
  auto sum = Pack::value(0.0f);
  for (int64_t h = 0; h < block.rows; ++h) {
    for (int64_t w = 0; w < block.columns; ++w) {
      const float divisor = row_divisors[h] * column_divisors[w];
      sum += Pack::load(dy + h * block.row_stride + w * block.channels) / divisor;
    }
  }
  Pack::store(sum, dx);
}

// The divisor of every window along an axis.
template <class Axis>
Tensor divisor_table(const Context& context, const Axis& axis) {
  Tensor table = Tensor::empty(context, Shape{axis.out});
  for (int64_t o = 0; o < axis.out; ++o) {
    table.data<float>()[o] = static_cast<float>(axis.divisor(o));
  }
  return table;
}

template <class Axis>
void spread(const Tensor& dy, const Axis& hs, const Axis& ws, Tensor& dx) {
  const int64_t channels = dx.dim(3), row = ws.in * channels, size = dy.numel();
  const float* gradient = dy.data<float>();
  float* result = dx.data<float>();
  const Tensor covers = cover_table(dx.context(), ws);
  const Tensor row_table = divisor_table(dx.context(), hs), table = divisor_table(dx.context(), ws);
  const int32_t* columns = covers.data<int32_t>();
  const float *row_divisors = row_table.data<float>(), *divisors = table.data<float>();
  parallel_for(dx.context(), dx.dim(0) * hs.in, row_grain(row), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t h = r % hs.in, oh = hs.first(h), line = (r / hs.in * hs.out + oh) * ws.out;
      Block block{hs.last(h) - oh, 0, ws.out * channels, channels};
      for (int64_t w = 0; w < ws.in; ++w) {
        const int64_t ow = columns[2 * w], from = (line + ow) * channels;
        float* pixel = result + r * row + w * channels;
        block.columns = columns[2 * w + 1] - ow;
        const int64_t room = std::min(size - from - block.last(), row - w * channels);
        const float *rows = row_divisors + oh, *own = divisors + ow;
        for_channels<FloatPack::kLanes>(
            channels, room,
            [&](int64_t c) {
              spread_lanes<FloatPack>(gradient + from + c, block, rows, own, pixel + c);
            },
            [&](int64_t c) {
              spread_lanes<Single<float>>(gradient + from + c, block, rows, own, pixel + c);
            });
      }
    }
  });
}

void check_adaptive(const char* op, const Tensor& x, const Tensor& y) {
  check_dtype(op, "input", x, DType::kFloat32);
  check_dtype(op, "result", y, DType::kFloat32);
  check_rank(op, "input", x, 4);
  check_rank(op, "result", y, 4);
  if (x.dim(0) == y.dim(0) && x.dim(3) == y.dim(3) && y.dim(1) > 0 && y.dim(2) > 0 &&
      x.dim(1) > 0 && x.dim(2) > 0) {
    return;
  }
  throw HALFTONE_ERROR(op)
      .expected("batch and channels of " + nchw_text(x.shape()) + ", no empty image")
      .found(nchw_text(y.shape()));
}

}  // namespace

void avg_pool2d(const Tensor& x, const Pool2dOptions& options, Tensor& y) {
  check_dtype("avg_pool2d", "input", x, DType::kFloat32);
  check_pool("avg_pool2d", x, options, y);
  HALFTONE_ON_DEVICE(avg_pool2d, x, x, options, y);
  average(x, height_axis(x.shape(), y.shape(), options), width_axis(x.shape(), y.shape(), options),
          y);
}

void avg_pool2d_backward(const Tensor& dy, const Pool2dOptions& options, Tensor& dx) {
  check_dtype("avg_pool2d backward", "gradient", dy, DType::kFloat32);
  check_pool("avg_pool2d backward", dx, options, dy);
  HALFTONE_ON_DEVICE(avg_pool2d_backward, dy, dy, options, dx);
  spread(dy, height_axis(dx.shape(), dy.shape(), options),
         width_axis(dx.shape(), dy.shape(), options), dx);
}

void adaptive_avg_pool2d(const Tensor& x, Tensor& y) {
  check_adaptive("adaptive_avg_pool2d", x, y);
  HALFTONE_ON_DEVICE(adaptive_avg_pool2d, x, x, y);
  average(x, AdaptiveAxis{x.dim(1), y.dim(1)}, AdaptiveAxis{x.dim(2), y.dim(2)}, y);
}

void adaptive_avg_pool2d_backward(const Tensor& dy, Tensor& dx) {
  check_adaptive("adaptive_avg_pool2d backward", dx, dy);
  HALFTONE_ON_DEVICE(adaptive_avg_pool2d_backward, dy, dy, dx);
  spread(dy, AdaptiveAxis{dx.dim(1), dy.dim(1)}, AdaptiveAxis{dx.dim(2), dy.dim(2)}, dx);
}

}  // namespace halftone::kernels
