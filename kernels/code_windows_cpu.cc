#include <algorithm>

#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/parallel.h"
#include "kernels/pool.h"

namespace halftone::kernels {
namespace {

// sum (q - z) over the windows of one row of the result; what lies outside is zero.
void sum_row(const uint8_t* image, const Shape& s, const Pool2dOptions& o, int32_t zero,
             int64_t row, int64_t columns, int32_t* to) {
  const int64_t height = s[1], width = s[2], channels = s[3];
  const int64_t top = row * o.stride_h - o.pad_h;
  std::fill_n(to, columns * channels, 0);
  for (int64_t x = 0; x < columns; ++x, to += channels) {
    const int64_t left = x * o.stride_w - o.pad_w;
    for (int64_t i = std::max<int64_t>(top, 0); i < std::min(top + o.kernel_h, height); ++i) {
      for (int64_t j = std::max<int64_t>(left, 0); j < std::min(left + o.kernel_w, width); ++j) {
        const uint8_t* pixel = image + (i * width + j) * channels;
        for (int64_t c = 0; c < channels; ++c) to[c] += pixel[c] - zero;
      }
    }
  }
}

}  // namespace

void sum_code_windows(const Tensor& codes, int32_t zero_point, const Pool2dOptions& options,
                      Tensor& sums) {
  const char* op = "sum_code_windows";
  check_dtype(op, "codes", codes, DType::kUInt8);
  check_dtype(op, "result", sums, DType::kInt32);
  check_shape(op, "result", sums, pool2d_shape(codes.shape(), options));
  HALFTONE_ON_DEVICE(sum_code_windows, codes, codes, zero_point, options, sums);
  const Shape &s = codes.shape(), &shape = sums.shape();
  const uint8_t* from = codes.data<uint8_t>();
  int32_t* to = sums.data<int32_t>();
  const int64_t rows = shape[1], size = s[1] * s[2] * s[3], line = shape[2] * shape[3];
  parallel_for(codes.context(), s[0] * rows, 1, [&, from, to](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      sum_row(from + r / rows * size, s, options, zero_point, r % rows, shape[2], to + r * line);
    }
  });
}

}  // namespace halftone::kernels
