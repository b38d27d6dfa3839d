// What every processor can run, and the choice among bodies.
#include <math.h>
#include <string.h>

#include "kernels/integer/products_bodies.h"

namespace halftone::integer {
namespace {

#include "kernels/integer/products_loops.h"

// Modulo 2^32.
void sums_of(const Slab& s, const uint8_t* x, int32_t* sums) {
  const int32_t width = s.vectors * kLanes;
  uint32_t total[kSlabVectors * kLanes];
  for (int32_t i = 0; i < width; ++i) total[i] = static_cast<uint32_t>(s.start[i]);
  const int8_t* w = s.weights;
  for (int64_t r = 0; r < s.run_count; ++r) {
    const uint8_t* run = x + s.runs[r];
    for (int64_t k = 0; k < s.run_bytes; k += kQuad, w += width * kQuad) {
      for (int32_t i = 0; i < width; ++i) {
        for (int32_t j = 0; j < kQuad; ++j)
          total[i] += static_cast<uint32_t>(int32_t{run[k + j]} * w[i * kQuad + j]);
      }
    }
  }
  for (int32_t i = 0; i < width; ++i) sums[i] = static_cast<int32_t>(total[i]);
}

void multiply(const Slab& s) {
  PixelWalk walk(s.first, s.height, s.width);
  for (int64_t p = s.first; p < s.last; ++p, walk.advance()) {
    int32_t sums[kSlabVectors * kLanes];
    sums_of(s, s.x + walk.at(s.from), sums);
    finish_pixel(s, sums, walk.at(s.to));
  }
}

std::vector<Body> runnable() {
  std::vector<Body> list = {kScalarBody};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) list.push_back(kAvx2Body);
  bool all = true;
  all = all && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
  all = all && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  if (all && __builtin_cpu_supports("avx512vnni")) list.push_back(kAvx512Body);
#endif
  return list;
}

}  // namespace

const Body kScalarBody{"scalar", multiply, finish_pooled, depthwise};

const std::vector<Body>& bodies() {
  static const std::vector<Body> list = runnable();
  return list;
}

}  // namespace halftone::integer
