// The inner loops of conv_winograd.h for AVX2.
#include <immintrin.h>

#include <utility>

#include "kernels/conv_winograd.h"

#pragma GCC target("avx2,fma")
#include "kernels/conv_winograd_weight_tiles.h"

namespace halftone::kernels {

const WinogradKernels& winograd_kernels_avx2() { return conv_avx2::kWinogradKernels; }

}  // namespace halftone::kernels
