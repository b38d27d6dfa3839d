#include <algorithm>
#include <mutex>

#include "kernels/add_codes.h"
#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/parallel.h"
#include "kernels/reduce.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kGrain = 16384;

void check_operands(const Tensor& a, const Tensor& b) {
  check_dtype("add_codes", "first input", a, DType::kUInt8);
  check_dtype("add_codes", "second input", b, DType::kUInt8);
  check_shape("add_codes", "second input", b, a.shape());
}

}  // namespace

SumRange add_codes(const Tensor& a, const Tensor& b, const CodeSum& sum, Tensor& y) {
  check_operands(a, b);
  check_dtype("add_codes", "output", y, DType::kUInt8);
  check_shape("add_codes", "output", y, a.shape());
  HALFTONE_ON_DEVICE(add_codes, a, a, b, sum, y);
  const uint8_t *pa = a.data<uint8_t>(), *pb = b.data<uint8_t>();
  uint8_t* py = y.data<uint8_t>();
  const int32_t zeros = sum.a_zero + sum.b_zero, low = sum.low, high = sum.high, z = sum.y_zero;
  SumRange range{INT32_MAX, INT32_MIN};
  std::mutex mutex;
  parallel_for(a.context(), a.numel(), kGrain, [&](int64_t begin, int64_t end) {
    int32_t least = INT32_MAX, most = INT32_MIN;
    for (int64_t i = begin; i < end; ++i) {
      const int32_t t = pa[i] + pb[i] - zeros;
      least = std::min(least, t);
      most = std::max(most, t);
      py[i] = static_cast<uint8_t>(std::min(std::max(t, low), high) + z);
    }
    const std::lock_guard<std::mutex> lock(mutex);
    range = {std::min(range.low, least), std::max(range.high, most)};
  });
  return range;
}

void add_codes_backward(const Tensor& dy, const Tensor& a, const Tensor& b, const CodeSum& sum,
                        Tensor& dt) {
  check_operands(a, b);
  check_dtype("add_codes", "gradient", dy, DType::kFloat32);
  check_shape("add_codes", "gradient", dy, a.shape());
  check_shape("add_codes", "result", dt, a.shape());
  HALFTONE_ON_DEVICE(add_codes_backward, a, dy, a, b, sum, dt);
  const uint8_t *pa = a.data<uint8_t>(), *pb = b.data<uint8_t>();
  const float* from = dy.data<float>();
  float* to = dt.data<float>();
  const int32_t zeros = sum.a_zero + sum.b_zero, low = sum.pass_low, high = sum.pass_high;
  parallel_for(a.context(), a.numel(), kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int32_t t = pa[i] + pb[i] - zeros;
      to[i] = (t >= low) & (t <= high) ? from[i] : 0.0f;
    }
  });
}

double add_codes_weighted_sum(const Tensor& dy, const Tensor& a, const Tensor& b,
                              const std::vector<float>& shares) {
  check_operands(a, b);
  check_dtype("add_codes", "gradient", dy, DType::kFloat32);
  check_shape("add_codes", "gradient", dy, a.shape());
  HALFTONE_ON_DEVICE(add_codes_weighted_sum, a, dy, a, b, shares);
  const uint8_t *pa = a.data<uint8_t>(), *pb = b.data<uint8_t>();
  const float *from = dy.data<float>(), *share = shares.data();
  return reduce_chunks(a.context(), a.numel(), kGrain, [=](int64_t begin, int64_t end) {
    double sum = 0;
    for (int64_t i = begin; i < end; ++i) {
      sum += static_cast<double>(from[i]) * static_cast<double>(share[pa[i] + pb[i]]);
    }
    return sum;
  });
}

}  // namespace halftone::kernels
