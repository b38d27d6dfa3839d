// Channel concatenation and subsampling: bytes move, nothing is computed.
#include <cstring>

#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/elementwise.h"
#include "kernels/parallel.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kGrainBytes = 65536;

// memcpy for the short runs that channels are: no call, 16 bytes at a time, the last overlapping.
inline void copy_short(char* to, const char* from, int64_t bytes) {
  if (bytes < 16) {
    for (int64_t i = 0; i < bytes; ++i) to[i] = from[i];
    return;
  }
  for (int64_t i = 0; i + 16 <= bytes; i += 16) std::memcpy(to + i, from + i, 16);
  std::memcpy(to + bytes - 16, from + bytes - 16, 16);
}

// Copies rows of `width` bytes between strided places.
void copy_rows(const Context& context, int64_t rows, int64_t width, const char* from,
               int64_t from_stride, char* to, int64_t to_stride) {
  const int64_t grain = 1 + kGrainBytes / (width + 1);
  parallel_for(context, rows, grain, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      copy_short(to + r * to_stride, from + r * from_stride, width);
    }
  });
}

// The shape but for the last axis, for error texts and checks.
Shape with_channels(Shape shape, int64_t channels) {
  shape.set(shape.rank() - 1, channels);
  return shape;
}

// Checks that `parts` along the last axis make up `whole`; returns the number of rows.
int64_t check_parts(const char* op, const std::vector<Tensor>& parts, const Tensor& whole) {
  int64_t channels = 0;
  for (const Tensor& part : parts) {
    check_dtype(op, "part", part, whole.dtype());
    check_rank(op, "part", part, whole.rank());
    check_shape(op, "part", part, with_channels(whole.shape(), part.dim(-1)));
    channels += part.dim(-1);
  }
  if (channels != whole.dim(-1)) {
    throw HALFTONE_ERROR(op)
        .expected(std::to_string(channels) + " channels, the sum of the parts'")
        .found(nchw_text(whole.shape()));
  }
  return channels == 0 ? 0 : whole.numel() / channels;
}

void check_subsample(const Tensor& small, const Tensor& large, int stride, int pad_before) {
  const char* op = "subsample_pad";
  check_rank(op, "input", small, 4);
  check_rank(op, "result", large, 4);
  check_dtype(op, "result", large, small.dtype());
  const Shape& s = small.shape();
  const Shape wanted{s[0], stride < 1 ? 0 : (s[1] + stride - 1) / stride,
                     stride < 1 ? 0 : (s[2] + stride - 1) / stride, large.dim(3)};
  if (stride < 1 || pad_before < 0 || s[3] + pad_before > large.dim(3) || large.shape() != wanted) {
    throw HALFTONE_ERROR(op)
        .expected("result of shape " + nchw_text(wanted) + " with room for " +
                  std::to_string(s[3]) + " channels after " + std::to_string(pad_before))
        .found(nchw_text(large.shape()) + " with stride " + std::to_string(stride));
  }
}

template <class T>
void subsample(const Tensor& x, int64_t stride, int64_t pad_before, T fill, Tensor& y) {
  const int64_t height = x.dim(1), width = x.dim(2), channels = x.dim(3);
  const int64_t out_h = y.dim(1), out_w = y.dim(2), wide = y.dim(3);
  const T* in = static_cast<const T*>(x.raw());
  T* out = static_cast<T*>(y.raw());
  parallel_for(x.context(), x.dim(0) * out_h, 4, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* row = in + ((r / out_h) * height + (r % out_h) * stride) * width * channels;
      for (int64_t w = 0; w < out_w; ++w) {
        T* pixel = out + (r * out_w + w) * wide;
        std::fill(pixel, pixel + pad_before, fill);
        std::memcpy(pixel + pad_before, row + w * stride * channels, sizeof(T) * channels);
        std::fill(pixel + pad_before + channels, pixel + wide, fill);
      }
    }
  });
}

}  // namespace

void concat_channels(const std::vector<Tensor>& xs, Tensor& y) {
  const int64_t rows = check_parts("concat", xs, y);
  HALFTONE_ON_DEVICE(concat_channels, y, xs, y);
  const int64_t stride = y.dim(-1) * static_cast<int64_t>(size_of(y.dtype()));
  char* out = static_cast<char*>(y.raw());
  for (const Tensor& x : xs) {
    const int64_t width = x.dim(-1) * static_cast<int64_t>(size_of(x.dtype()));
    copy_rows(y.context(), rows, width, static_cast<const char*>(x.raw()), width, out, stride);
    out += width;
  }
}

void split_channels(const Tensor& dy, std::vector<Tensor>& dxs) {
  const int64_t rows = check_parts("concat backward", dxs, dy);
  HALFTONE_ON_DEVICE(split_channels, dy, dy, dxs);
  const int64_t stride = dy.dim(-1) * static_cast<int64_t>(size_of(dy.dtype()));
  const char* in = static_cast<const char*>(dy.raw());
  for (Tensor& dx : dxs) {
    const int64_t width = dx.dim(-1) * static_cast<int64_t>(size_of(dx.dtype()));
    copy_rows(dy.context(), rows, width, in, stride, static_cast<char*>(dx.raw()), width);
    in += width;
  }
}

void subsample_pad(const Tensor& x, int stride, int pad_before, Tensor& y, int fill) {
  check_subsample(x, y, stride, pad_before);
  HALFTONE_ON_DEVICE(subsample_pad, x, x, stride, pad_before, y, fill);
  switch (x.dtype()) {
    case DType::kFloat32:
      return subsample<float>(x, stride, pad_before, fill, y);
    case DType::kUInt8:
    case DType::kInt8:
    case DType::kBool:
      return subsample<uint8_t>(x, stride, pad_before, fill, y);
    case DType::kInt32:
      return subsample<int32_t>(x, stride, pad_before, fill, y);
    case DType::kInt64:
      return subsample<int64_t>(x, stride, pad_before, fill, y);
    default:
      throw HALFTONE_ERROR("subsample_pad")
          .expected("float32 or an integer type")
          .found(name_of(x.dtype()));
  }
}

void subsample_pad_backward(const Tensor& dy, int stride, int pad_before, Tensor& dx) {
  check_subsample(dx, dy, stride, pad_before);
  check_dtype("subsample_pad backward", "gradient", dy, DType::kFloat32);
  HALFTONE_ON_DEVICE(subsample_pad_backward, dy, dy, stride, pad_before, dx);
  const int64_t height = dx.dim(1), width = dx.dim(2), channels = dx.dim(3);
  const int64_t out_h = dy.dim(1), out_w = dy.dim(2), wide = dy.dim(3);
  const float* gradient = dy.data<float>() + pad_before;
  float* result = dx.data<float>();
  parallel_for(dx.context(), dx.dim(0) * height, 4, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t n = r / height, h = r % height;
      const float* row = gradient + (n * out_h + h / stride) * out_w * wide;
      for (int64_t w = 0; w < width; ++w) {
        float* pixel = result + (r * width + w) * channels;
        if (h % stride != 0 || w % stride != 0) {
          std::fill(pixel, pixel + channels, 0.0f);
        } else {
          std::memcpy(pixel, row + (w / stride) * wide, sizeof(float) * channels);
        }
      }
    }
  });
}

}  // namespace halftone::kernels
