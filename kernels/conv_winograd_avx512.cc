// The inner loops of conv_winograd.h for AVX512.
#include <immintrin.h>

#include <utility>

#include "kernels/conv_winograd.h"

#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")
#define HALFTONE_CONV_AVX512
#include "kernels/conv_winograd_weight_tiles.h"

namespace halftone::kernels {

const WinogradKernels& winograd_kernels_avx512() { return conv_avx512::kWinogradKernels; }

}  // namespace halftone::kernels
