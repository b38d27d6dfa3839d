// The inner kernels of conv_direct.h for AVX512.
#include <immintrin.h>

#include <utility>

#include "kernels/conv_direct.h"

#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")
#define HALFTONE_CONV_AVX512
#include "kernels/conv_direct_tiles.h"

namespace halftone::kernels {

const DirectKernels& direct_kernels_avx512() {
  static constexpr DirectKernels kernels{conv_avx512::Vec::kLanes, conv_avx512::kMaxColumns,
                                         conv_avx512::correlate, conv_avx512::weight_product};
  return kernels;
}

}  // namespace halftone::kernels
