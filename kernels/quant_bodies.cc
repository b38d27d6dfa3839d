#include "kernels/quant_bodies.h"

#include "kernels/parallel.h"

namespace halftone::kernels {

const QuantBodies& quant_bodies() {
  const QuantBodies* wide = quant_bodies_avx512();
  return wide != nullptr ? *wide : quant_bodies_avx2();
}

bool streams(const void* data, int64_t bytes) {
  constexpr int64_t kFrom = int64_t{16} << 20;
  return bytes >= kFrom && reinterpret_cast<uintptr_t>(data) % 64 == 0;
}

void run_elementwise(const Context& context, QuantBodies::Body body, const Tensor* dy,
                     const Tensor& x, const float* scale, Tensor& out) {
  constexpr int64_t kGroups = 1024;  // of lanes: what a thread takes at least
  QuantBlock block{};
  block.x = x.data<float>();
  block.dy = dy != nullptr ? dy->data<float>() : nullptr;
  block.out = out.data<float>();
  block.stream = streams(block.out, out.numel() * 4);
  block.scale = scale;
  const int64_t n = x.numel(), groups = (n + kQuantLanes - 1) / kQuantLanes;
  parallel_for(context, groups, kGroups, [=](int64_t first, int64_t last) {
    QuantBlock b = block;
    b.begin = first * kQuantLanes;
    b.end = std::min(n, last * kQuantLanes);
    body(b);
  });
}

}  // namespace halftone::kernels
