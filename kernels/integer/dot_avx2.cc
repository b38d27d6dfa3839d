// Products in 16 bits, sums of pairs in 32: |x w| <= 255 * 128, so nothing saturates. (vpmaddubsw,
// the usual short cut, adds pairs in 16 bits and would.)
#include "kernels/integer/dot_bodies.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace halftone::integer {
namespace {

#define TARGET __attribute__((target("avx2")))

TARGET inline int32_t sum_of_lanes(__m256i v) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
  return _mm_cvtsi128_si32(s);
}

}  // namespace

TARGET void dot_rows_avx2(const uint8_t* x, const int8_t* w, int32_t depth, int32_t rows,
                          int32_t* acc) {
  for (int32_t r = 0; r < rows; ++r, w += depth) {
    __m256i even = _mm256_setzero_si256(), odd = even;
    for (int32_t k = 0; k < depth; k += 32) {
      const auto* px = reinterpret_cast<const __m128i*>(x + k);
      const auto* pw = reinterpret_cast<const __m128i*>(w + k);
      even = _mm256_add_epi32(even, _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128(px)),
                                                      _mm256_cvtepi8_epi16(_mm_loadu_si128(pw))));
      odd = _mm256_add_epi32(odd, _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128(px + 1)),
                                                    _mm256_cvtepi8_epi16(_mm_loadu_si128(pw + 1))));
    }
    acc[r] = sum_of_lanes(_mm256_add_epi32(even, odd));
  }
}

}  // namespace halftone::integer
#endif
