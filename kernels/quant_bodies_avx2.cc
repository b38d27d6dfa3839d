// The loops of quant_bodies.h for AVX2.
#include <immintrin.h>
#include <math.h>
#include <stdint.h>

#include "kernels/quant_bodies.h"

#pragma GCC target("avx2,fma")
#include "kernels/quant_bodies_loops.h"

namespace halftone::kernels {

const QuantBodies& quant_bodies_avx2() { return quant_avx2::kBodies; }

}  // namespace halftone::kernels
