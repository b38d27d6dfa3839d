// Permutes, channel concatenation and subsampling: bytes move, nothing is computed.
#include <cstring>
#include <type_traits>

#include "kernels/check.h"
#include "kernels/elementwise.h"
#include "kernels/parallel.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kGrainBytes = 65536;

// Calls body(T{}) with an unsigned integer as wide as the dtype.
template <class Body>
void with_width(DType dtype, Body body) {
  switch (size_of(dtype)) {
    case 1:
      return body(uint8_t{});
    case 2:
      return body(uint16_t{});
    case 4:
      return body(uint32_t{});
    default:
      return body(uint64_t{});
  }
}

// One 16-byte register of Ts.
template <class T>
struct Register {
  static constexpr int kLanes = 16 / sizeof(T);
  typedef T Vector __attribute__((vector_size(16)));
};

// Interleaves the low (kHigh false) or the high halves of a and b.
template <class T, bool kHigh>
inline typename Register<T>::Vector interleave(typename Register<T>::Vector a,
                                               typename Register<T>::Vector b) {
  constexpr int kLanes = Register<T>::kLanes, kFrom = kHigh ? kLanes / 2 : 0;
  typename Register<T>::Vector order = {};
  for (int i = 0; i < kLanes; ++i) order[i] = static_cast<T>(kFrom + i / 2 + (i % 2) * kLanes);
  return __builtin_shuffle(a, b, order);
}

// A square of kLanes x kLanes, transposed: log2(kLanes) rounds of interleaving row i with row
// i + kLanes / 2.
template <class T>
inline void transpose_square(const T* x, int64_t x_stride, T* y, int64_t y_stride) {
  constexpr int kLanes = Register<T>::kLanes;
  typename Register<T>::Vector rows[kLanes], next[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) std::memcpy(&rows[i], x + i * x_stride, 16);
#pragma GCC unroll 4
  for (int round = 1; round < kLanes; round *= 2) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes / 2; ++i) {
      next[2 * i] = interleave<T, false>(rows[i], rows[i + kLanes / 2]);
      next[2 * i + 1] = interleave<T, true>(rows[i], rows[i + kLanes / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) rows[i] = next[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) std::memcpy(y + i * y_stride, &rows[i], 16);
}

// y (columns, rows) = transposed x (rows, columns), for columns [begin, end). Tiles of one cache
// line of x by 64 rows stay in the L1 cache.
template <class T>
void transpose(const T* x, int64_t rows, int64_t columns, int64_t begin, int64_t end, T* y) {
  constexpr int64_t kLanes = Register<T>::kLanes, kRows = 64, kColumns = 64 / sizeof(T);
  for (int64_t r0 = 0; r0 < rows; r0 += kRows) {
    const int64_t r1 = std::min(rows, r0 + kRows), r_square = r1 - (r1 - r0) % kLanes;
    for (int64_t c0 = begin; c0 < end; c0 += kColumns) {
      const int64_t c1 = std::min(end, c0 + kColumns), c_square = c1 - (c1 - c0) % kLanes;
      for (int64_t c = c0; c < c_square; c += kLanes) {
        for (int64_t r = r0; r < r_square; r += kLanes) {
          transpose_square(x + r * columns + c, columns, y + c * rows + r, rows);
        }
      }
      auto rest = [=](int64_t c_from, int64_t r_from, int64_t r_to) {
        for (int64_t c = c_from; c < c1; ++c) {
          for (int64_t r = r_from; r < r_to; ++r) y[c * rows + r] = x[r * columns + c];
        }
      };
      rest(c0, r_square, r1);
      rest(c_square, r0, r_square);
    }
  }
}

// batch matrices (rows, columns) to (columns, rows).
void permute(const Tensor& x, int64_t batch, int64_t rows, int64_t columns, Tensor& y) {
  const int64_t matrix = rows * columns;
  const int64_t grain = 1 + kGrainBytes / (rows * static_cast<int64_t>(size_of(x.dtype())) + 1);
  with_width(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* in = static_cast<const T*>(x.raw());
    T* out = static_cast<T*>(y.raw());
    parallel_for(x.context(), batch * columns, grain, [=](int64_t begin, int64_t end) {
      if (rows == 1 || columns == 1) {  // the same order
        std::memcpy(out + begin * rows, in + begin * rows, sizeof(T) * (end - begin) * rows);
        return;
      }
      for (int64_t at = begin; at < end;) {
        const int64_t n = at / columns, from = at % columns;
        const int64_t to = std::min(columns, from + end - at);
        transpose(in + n * matrix, rows, columns, from, to, out + n * matrix);
        at += to - from;
      }
    });
  });
}

void check_permute(const char* op, const Tensor& x, const Shape& wanted, const Tensor& y) {
  check_dtype(op, "result", y, x.dtype());
  check_shape(op, "result", y, wanted);
}

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

void nhwc_to_nchw(const Tensor& x, Tensor& y) {
  check_rank("nhwc_to_nchw", "input", x, 4);
  check_permute("nhwc_to_nchw", x, Shape{x.dim(0), x.dim(3), x.dim(1), x.dim(2)}, y);
  permute(x, x.dim(0), x.dim(1) * x.dim(2), x.dim(3), y);
}

void nchw_to_nhwc(const Tensor& x, Tensor& y) {
  check_rank("nchw_to_nhwc", "input", x, 4);
  check_permute("nchw_to_nhwc", x, Shape{x.dim(0), x.dim(2), x.dim(3), x.dim(1)}, y);
  permute(x, x.dim(0), x.dim(1), x.dim(2) * x.dim(3), y);
}

void concat_channels(const std::vector<Tensor>& xs, Tensor& y) {
  const int64_t rows = check_parts("concat", xs, y);
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
