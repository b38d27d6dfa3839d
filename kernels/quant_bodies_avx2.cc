// The loops of quant_bodies.h for AVX2, and the choice between the instruction sets.
#include <immintrin.h>
#include <math.h>
#include <stdint.h>

#include "kernels/quant_bodies.h"

#pragma GCC target("avx2,fma")
#include "kernels/quant_bodies_loops.h"

namespace halftone::kernels {

const QuantBodies& quant_bodies_avx2() { return quant_avx2::kBodies; }

const QuantBodies& quant_bodies() {
  const QuantBodies* wide = quant_bodies_avx512();
  return wide != nullptr ? *wide : quant_bodies_avx2();
}

bool streams(const void* out, int64_t bytes) {
  constexpr int64_t kFrom = int64_t{16} << 20;
  return bytes >= kFrom && reinterpret_cast<uintptr_t>(out) % 64 == 0;
}

}  // namespace halftone::kernels
