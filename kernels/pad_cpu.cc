#include "kernels/pad.h"

#include <algorithm>

#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/parallel.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kGrainRows = 16;

// Where the small images lie in the large ones; `row` counts values.
struct Frame {
  int64_t height, row, large_height, large_row, top, left;
};

Frame frame_of(const char* op, const Tensor& small, const Tensor& large) {
  check_rank(op, "images", small, 4);
  check_rank(op, "padded images", large, 4);
  const int64_t c = small.dim(3), more_h = large.dim(1) - small.dim(1),
                more_w = large.dim(2) - small.dim(2);
  const bool good = large.dim(0) == small.dim(0) && large.dim(3) == c && more_h >= 0 &&
                    more_w >= 0 && more_h % 2 == 0 && more_w % 2 == 0;
  if (!good) {
    throw HALFTONE_ERROR(op)
        .expected("the same border above and below, left and right of " + nchw_text(small.shape()))
        .found(nchw_text(large.shape()));
  }
  return {small.dim(1),     small.dim(2) * c, large.dim(1),
          large.dim(2) * c, more_h / 2,       more_w / 2 * c};
}

template <class T>
void pad(const Frame& f, const Tensor& x, T value, Tensor& y) {
  const T* in = x.data<T>();
  T* out = y.data<T>();
  parallel_for(x.context(), x.dim(0) * f.large_height, kGrainRows, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t image = r / f.large_height, h = r % f.large_height - f.top;
      T* row = out + r * f.large_row;
      if (h < 0 || h >= f.height) {
        std::fill(row, row + f.large_row, value);
        continue;
      }
      std::fill(row, row + f.left, value);
      std::copy_n(in + (image * f.height + h) * f.row, f.row, row + f.left);
      std::fill(row + f.left + f.row, row + f.large_row, value);
    }
  });
}

}  // namespace

void pad_images(const Tensor& x, float value, Tensor& y) {
  const Frame f = frame_of("pad", x, y);
  check_dtype("pad", "result", y, x.dtype());
  HALFTONE_ON_DEVICE(pad_images, x, x, value, y);
  if (x.dtype() == DType::kUInt8) return pad<uint8_t>(f, x, static_cast<uint8_t>(value), y);
  check_dtype("pad", "images", x, DType::kFloat32);
  pad<float>(f, x, value, y);
}

void pad_images_backward(const Tensor& dy, Tensor& dx) {
  const Frame f = frame_of("pad backward", dx, dy);
  check_dtype("pad backward", "gradient", dy, DType::kFloat32);
  check_dtype("pad backward", "result", dx, DType::kFloat32);
  HALFTONE_ON_DEVICE(pad_images_backward, dy, dy, dx);
  const float* in = dy.data<float>();
  float* out = dx.data<float>();
  parallel_for(dx.context(), dx.dim(0) * f.height, kGrainRows, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t from = r / f.height * f.large_height + r % f.height + f.top;
      std::copy_n(in + from * f.large_row + f.left, f.row, out + r * f.row);
    }
  });
}

}  // namespace halftone::kernels
