// The loops of quant_bodies.h for AVX-512.
#include <immintrin.h>
#include <math.h>
#include <stdint.h>

#include "kernels/quant_bodies.h"

#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")
#define HALFTONE_QUANT_AVX512
#include "kernels/quant_bodies_loops.h"

namespace halftone::kernels {

const QuantBodies* quant_bodies_avx512() {
  static const bool usable =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  return usable ? &quant_avx512::kBodies : nullptr;
}

}  // namespace halftone::kernels
