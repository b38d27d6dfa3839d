// (N, H, W, C) to (N, C, H, W) and back: transposes of one matrix per image.
#include <cstring>

#include "kernels/check.h"
#include "kernels/device.h"
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

}  // namespace

void nhwc_to_nchw(const Tensor& x, Tensor& y) {
  check_rank("nhwc_to_nchw", "input", x, 4);
  check_permute("nhwc_to_nchw", x, Shape{x.dim(0), x.dim(3), x.dim(1), x.dim(2)}, y);
  HALFTONE_ON_DEVICE(nhwc_to_nchw, x, x, y);
  permute(x, x.dim(0), x.dim(1) * x.dim(2), x.dim(3), y);
}

void nchw_to_nhwc(const Tensor& x, Tensor& y) {
  check_rank("nchw_to_nhwc", "input", x, 4);
  check_permute("nchw_to_nhwc", x, Shape{x.dim(0), x.dim(2), x.dim(3), x.dim(1)}, y);
  HALFTONE_ON_DEVICE(nchw_to_nhwc, x, x, y);
  permute(x, x.dim(0), x.dim(1), x.dim(2) * x.dim(3), y);
}

}  // namespace halftone::kernels
