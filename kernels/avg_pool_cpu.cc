#include <algorithm>

#include "kernels/check.h"
#include "kernels/parallel.h"
#include "kernels/pool.h"
#include "kernels/pool_windows.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kGrain = 32768;  // elements

int64_t row_grain(int64_t row) { return 1 + kGrain / (row + 1); }

inline void add_to(const float* x, int64_t n, float* sum) {
#pragma GCC ivdep
  for (int64_t c = 0; c < n; ++c) sum[c] += x[c];
}

template <class Axis>
float share(const Axis& hs, const Axis& ws, int64_t oh, int64_t ow) {
  return static_cast<float>(hs.divisor(oh) * ws.divisor(ow));
}

// y = sum over the window / divisor. x (N, H, W, C); Axis is Strided or Adaptive.
template <class Axis>
void average(const Tensor& x, const Axis& hs, const Axis& ws, Tensor& y) {
  const int64_t channels = x.dim(3), row = ws.out * channels;
  const float* in = x.data<float>();
  float* out = y.data<float>();
  const int64_t work = x.numel() / std::max<int64_t>(1, x.dim(0) * hs.out);  // inputs per row of y
  parallel_for(x.context(), x.dim(0) * hs.out, row_grain(work), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* image = in + r / hs.out * hs.in * ws.in * channels;
      const int64_t oh = r % hs.out;
      for (int64_t ow = 0; ow < ws.out; ++ow) {
        float* pixel = out + r * row + ow * channels;
        std::fill(pixel, pixel + channels, 0.0f);
        for (int64_t h = hs.begin(oh); h < hs.end(oh); ++h) {
          for (int64_t w = ws.begin(ow); w < ws.end(ow); ++w) {
            add_to(image + (h * ws.in + w) * channels, channels, pixel);
          }
        }
        const float divisor = share(hs, ws, oh, ow);
        for (int64_t c = 0; c < channels; ++c) pixel[c] /= divisor;
      }
    }
  });
}

// dx = sum over the windows that cover a pixel of dy / divisor, in the order of the windows.
template <class Axis>
void spread(const Tensor& dy, const Axis& hs, const Axis& ws, Tensor& dx) {
  const int64_t channels = dx.dim(3), row = ws.in * channels;
  const float* gradient = dy.data<float>();
  float* result = dx.data<float>();
  parallel_for(dx.context(), dx.dim(0) * hs.in, row_grain(row), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* image = gradient + r / hs.in * hs.out * ws.out * channels;
      const int64_t h = r % hs.in;
      for (int64_t w = 0; w < ws.in; ++w) {
        float* pixel = result + r * row + w * channels;
        std::fill(pixel, pixel + channels, 0.0f);
        for (int64_t oh = hs.first(h); oh < hs.last(h); ++oh) {
          for (int64_t ow = ws.first(w); ow < ws.last(w); ++ow) {
            const float divisor = share(hs, ws, oh, ow);
            const float* g = image + (oh * ws.out + ow) * channels;
            for (int64_t c = 0; c < channels; ++c) pixel[c] += g[c] / divisor;
          }
        }
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
  average(x, height_axis(x.shape(), y.shape(), options), width_axis(x.shape(), y.shape(), options),
          y);
}

void avg_pool2d_backward(const Tensor& dy, const Pool2dOptions& options, Tensor& dx) {
  check_dtype("avg_pool2d backward", "gradient", dy, DType::kFloat32);
  check_pool("avg_pool2d backward", dx, options, dy);
  spread(dy, height_axis(dx.shape(), dy.shape(), options),
         width_axis(dx.shape(), dy.shape(), options), dx);
}

void adaptive_avg_pool2d(const Tensor& x, Tensor& y) {
  check_adaptive("adaptive_avg_pool2d", x, y);
  average(x, AdaptiveAxis{x.dim(1), y.dim(1)}, AdaptiveAxis{x.dim(2), y.dim(2)}, y);
}

void adaptive_avg_pool2d_backward(const Tensor& dy, Tensor& dx) {
  check_adaptive("adaptive_avg_pool2d backward", dx, dy);
  spread(dy, AdaptiveAxis{dx.dim(1), dy.dim(1)}, AdaptiveAxis{dx.dim(2), dy.dim(2)}, dx);
}

}  // namespace halftone::kernels
