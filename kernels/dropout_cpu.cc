#include <string>

#include "kernels/activation.h"
#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/noise.h"
#include "kernels/parallel.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kGrain = 16384 / kNoiseBlock;  // blocks

}  // namespace

void dropout(const Tensor& x, float p, const Philox& stream, Tensor& y) {
  check_same("dropout", x, y);
  if (!(p >= 0.0f && p <= 1.0f)) {
    throw HALFTONE_ERROR("dropout").expected("p in [0, 1]").found(std::to_string(p));
  }
  HALFTONE_ON_DEVICE(dropout, x, x, p, stream, y);
  const float* in = x.data<float>();
  float* out = y.data<float>();
  const float factor = p < 1.0f ? 1.0f / (1.0f - p) : 0.0f;
  const int64_t n = x.numel();
  parallel_for(x.context(), (n + kNoiseBlock - 1) / kNoiseBlock, kGrain,
               [=](int64_t begin, int64_t end) {
                 uint32_t bits[kNoiseBlock];
                 for (int64_t block = begin; block < end; ++block) {
                   draws(stream, block, bits);
                   const int64_t at = block * kNoiseBlock, count = std::min(kNoiseBlock, n - at);
#pragma GCC ivdep
                   for (int64_t i = 0; i < count; ++i) {
                     const float uniform = noise_uniform(bits[i]);
                     out[at + i] = uniform < p ? 0.0f : in[at + i] * factor;
                   }
                 }
               });
}

}  // namespace halftone::kernels
