// The loops of epilogue_bodies.h for AVX-512.
#include <math.h>
#include <stdint.h>

#include "kernels/epilogue_bodies.h"

#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,prefer-vector-width=512")
#define HALFTONE_EPILOGUE_NAMESPACE epilogue_avx512
#include "kernels/epilogue_loops.h"

namespace halftone::kernels {

const EpilogueBodies* epilogue_bodies_avx512() {
  static const bool usable =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  return usable ? &epilogue_avx512::kBodies : nullptr;
}

}  // namespace halftone::kernels
