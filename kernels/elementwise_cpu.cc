#include "kernels/elementwise.h"

#include <cstring>

#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/reduce.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kGrain = 32768;
constexpr int64_t kSumChunk = 65536;

// y[i] = function(a[i], b[i]); y may be a or b.
template <class Function>
void map(const char* op, const Tensor& a, const Tensor& b, Tensor& y, Function function) {
  check_same(op, a, b);
  check_same(op, a, y);
  const float *left = a.data<float>(), *right = b.data<float>();
  float* out = y.data<float>();
  parallel_for(a.context(), a.numel(), kGrain, [=](int64_t begin, int64_t end) {
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) out[i] = function(left[i], right[i]);
  });
}

// Sixteen running sums in double: as fast as memory, and one fixed order.
double sum_range(const float* x, int64_t n) {
  constexpr int kLanes = 16;
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) lanes[j] += static_cast<double>(x[i + j]);
  }
  for (; i < n; ++i) lanes[i % kLanes] += static_cast<double>(x[i]);
  double total = 0.0;
  for (double lane : lanes) total += lane;
  return total;
}

bool finite_range(const float* x, int64_t n) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof bits);
    bad |= (bits & 0x7f800000u) == 0x7f800000u ? 1u : 0u;
  }
  return bad == 0;
}

}  // namespace

void add(const Tensor& a, const Tensor& b, Tensor& y) {
  HALFTONE_ON_DEVICE(add, a, a, b, y);
  map("add", a, b, y, [](float l, float r) { return l + r; });
}

void accumulate(const Tensor& x, Tensor& y) {
  HALFTONE_ON_DEVICE(accumulate, x, x, y);
  map("accumulate", y, x, y, [](float l, float r) { return l + r; });
}

void mul(const Tensor& a, const Tensor& b, Tensor& y) {
  HALFTONE_ON_DEVICE(mul, a, a, b, y);
  map("mul", a, b, y, [](float l, float r) { return l * r; });
}

void scale(const Tensor& x, float factor, Tensor& y) {
  HALFTONE_ON_DEVICE(scale, x, x, factor, y);
  map("scale", x, x, y, [factor](float l, float) { return l * factor; });
}

void scale_channels(const Tensor& x, int axis, const std::vector<float>& factors, Tensor& y) {
  check_dtype("scale_channels", "input", x, DType::kFloat32);
  check_shape("scale_channels", "result", y, x.shape());
  const auto count = static_cast<int64_t>(factors.size());
  if ((axis != 0 && axis + 1 != x.rank()) || x.dim(axis) != count) {
    throw HALFTONE_ERROR("scale_channels")
        .expected("factors for the first or the last axis of " + x.shape().str())
        .found(std::to_string(count) + " for axis " + std::to_string(axis));
  }
  if (x.numel() == 0) return;
  const bool last = axis + 1 == x.rank() && axis > 0;
  const int64_t rows = last ? x.numel() / count : count, columns = x.numel() / rows;
  const float* from = x.data<float>();
  float* to = y.data<float>();
  parallel_for(x.context(), rows, 1 + kGrain / columns, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float *in = from + r * columns, *each = factors.data();
      float* out = to + r * columns;
#pragma GCC ivdep
      for (int64_t i = 0; i < columns; ++i) out[i] = in[i] * (last ? each[i] : each[r]);
    }
  });
}

void scale_by(const Tensor& x, const Tensor& factor, Tensor& y) {
  check_dtype("scale_by", "factor", factor, DType::kFloat32);
  check_shape("scale_by", "result", y, x.shape());
  HALFTONE_ON_DEVICE(scale_by, x, x, factor, y);
  scale(x, factor.item<float>(), y);
}

double sum(const Tensor& x) {
  check_dtype("sum", "input", x, DType::kFloat32);
  HALFTONE_ON_DEVICE(sum, x, x);
  const float* in = x.data<float>();
  return reduce_chunks(x.context(), x.numel(), kSumChunk,
                       [=](int64_t b, int64_t e) { return sum_range(in + b, e - b); });
}

bool all_finite(const Tensor& x) {
  check_dtype("all_finite", "input", x, DType::kFloat32);
  HALFTONE_ON_DEVICE(all_finite, x, x);
  const float* in = x.data<float>();
  return reduce_chunks(x.context(), x.numel(), kSumChunk, [=](int64_t b, int64_t e) {
           return finite_range(in + b, e - b) ? 0.0 : 1.0;
         }) == 0.0;
}

}  // namespace halftone::kernels
