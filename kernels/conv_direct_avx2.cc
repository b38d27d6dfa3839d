// The inner kernels of conv_direct.h for AVX2.
#include <immintrin.h>

#include <utility>

#include "kernels/conv_direct.h"

#pragma GCC target("avx2,fma")
#include "kernels/conv_direct_tiles.h"

namespace halftone::kernels {

const DirectKernels& direct_kernels_avx2() {
  static constexpr DirectKernels kernels{conv_avx2::Vec::kLanes, conv_avx2::kMaxColumns,
                                         conv_avx2::correlate, conv_avx2::weight_product};
  return kernels;
}

}  // namespace halftone::kernels
