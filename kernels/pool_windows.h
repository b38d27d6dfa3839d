// One axis of a pooling: which inputs a window covers, and which windows cover an input.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/integer/host_device.h"
#include "kernels/pool.h"

namespace halftone::kernels {

// Window o covers the inputs [o * stride - pad, ... + kernel), cut to [0, in).
struct StridedAxis {
  int64_t in, out, kernel, stride, pad;
  bool count_pad;

  HALFTONE_HD int64_t begin(int64_t o) const { return std::max<int64_t>(0, o * stride - pad); }
  HALFTONE_HD int64_t end(int64_t o) const { return std::min(in, o * stride - pad + kernel); }
  // What an average divides by along this axis: padding counts, but not what ceil_mode adds.
  HALFTONE_HD int64_t divisor(int64_t o) const {
    if (!count_pad) return end(o) - begin(o);
    return std::min(in + pad, o * stride - pad + kernel) - (o * stride - pad);
  }
  // Windows [first_whole, last_whole) lie inside the input, if any do.
  HALFTONE_HD int64_t first_whole() const { return std::min(out, (pad + stride - 1) / stride); }
  HALFTONE_HD int64_t last_whole() const {
    return in + pad < kernel ? 0 : std::min(out, (in + pad - kernel) / stride + 1);
  }
  // Every input is in exactly one window.
  HALFTONE_HD bool tiles() const { return kernel == stride && pad == 0 && in == out * kernel; }
  // Windows [first, last) cover input i.
  HALFTONE_HD int64_t first(int64_t i) const {
    const int64_t reach = i + pad - kernel;  // the last window that ends before i
    return reach < 0 ? 0 : reach / stride + 1;
  }
  HALFTONE_HD int64_t last(int64_t i) const { return std::min(out, (i + pad) / stride + 1); }
};

// PyTorch's adaptive windows: [floor(o in / out), ceil((o + 1) in / out)).
struct AdaptiveAxis {
  int64_t in, out;

  HALFTONE_HD int64_t begin(int64_t o) const { return o * in / out; }
  HALFTONE_HD int64_t end(int64_t o) const { return ((o + 1) * in + out - 1) / out; }
  HALFTONE_HD int64_t divisor(int64_t o) const { return end(o) - begin(o); }
  HALFTONE_HD int64_t first(int64_t i) const { return i * out / in; }
  HALFTONE_HD int64_t last(int64_t i) const { return ((i + 1) * out + in - 1) / in; }
};

inline StridedAxis height_axis(const Shape& x, const Shape& y, const Pool2dOptions& o) {
  return {x[1], y[1], o.kernel_h, o.stride_h, o.pad_h, o.count_include_pad};
}
inline StridedAxis width_axis(const Shape& x, const Shape& y, const Pool2dOptions& o) {
  return {x[2], y[2], o.kernel_w, o.stride_w, o.pad_w, o.count_include_pad};
}

// For every input i of the axis: first(i), last(i), as int32 pairs. They cost divisions.
template <class Axis>
Tensor cover_table(const Context& context, const Axis& axis) {
  Tensor table = Tensor::empty(context, Shape{axis.in, 2}, DType::kInt32);
  int32_t* pairs = table.data<int32_t>();
  for (int64_t i = 0; i < axis.in; ++i) {
    pairs[2 * i] = static_cast<int32_t>(axis.first(i));
    pairs[2 * i + 1] = static_cast<int32_t>(axis.last(i));
  }
  return table;
}

// Throws unless y is what pooling x gives, both of x's dtype.
void check_pool(const char* op, const Tensor& x, const Pool2dOptions& options, const Tensor& y);
// What a maximum remembers of its windows: one uint8 per output.
void check_taps(const char* op, const Pool2dOptions& options, const Tensor& y, const Tensor& taps);

}  // namespace halftone::kernels
