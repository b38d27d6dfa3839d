#include "kernels/bfloat16.h"

#include <cstring>

#include "kernels/parallel.h"

namespace halftone::kernels {
namespace {

float rounded(float v) {
  uint32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  const uint32_t up = bits + 0x7fffu + (bits >> 16 & 1u);
  bits = (nan ? bits | 0x00400000u : up) & 0xffff0000u;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

}  // namespace

Tensor operand(const Tensor& t, DeviceMath math) {
  if (math != DeviceMath::kBFloat16) return t;
  Tensor copy = Tensor::empty(t.context(), t.shape());
  const float* from = t.data<float>();
  float* to = copy.data<float>();
  parallel_for(t.context(), t.numel(), 16384, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = rounded(from[i]);
  });
  return copy;
}

}  // namespace halftone::kernels
