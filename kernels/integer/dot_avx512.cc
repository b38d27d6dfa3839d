// vpdpbusd: four products of a uint8 and an int8 added to an int32, without saturation.
#include "kernels/integer/dot_bodies.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace halftone::integer {
namespace {

#define TARGET __attribute__((target("avx512f,avx512vnni")))

TARGET inline __m512i load(const void* p) { return _mm512_loadu_si512(p); }

TARGET inline int32_t sum_of_lanes(__m512i v) {
  uint32_t lanes[16], sum = 0;
  _mm512_storeu_si512(lanes, v);
  for (const uint32_t lane : lanes) sum += lane;
  return static_cast<int32_t>(sum);
}

}  // namespace

// Four rows at a time share the loads of x.
TARGET void dot_rows_avx512(const uint8_t* x, const int8_t* w, int32_t depth, int32_t rows,
                            int32_t* acc) {
  int32_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    const int8_t* row = w + static_cast<int64_t>(r) * depth;
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (int32_t k = 0; k < depth; k += 64) {
      const __m512i v = load(x + k);
      a = _mm512_dpbusd_epi32(a, v, load(row + k));
      b = _mm512_dpbusd_epi32(b, v, load(row + depth + k));
      c = _mm512_dpbusd_epi32(c, v, load(row + 2 * depth + k));
      d = _mm512_dpbusd_epi32(d, v, load(row + 3 * depth + k));
    }
    acc[r] = sum_of_lanes(a);
    acc[r + 1] = sum_of_lanes(b);
    acc[r + 2] = sum_of_lanes(c);
    acc[r + 3] = sum_of_lanes(d);
  }
  for (; r < rows; ++r) {
    const int8_t* row = w + static_cast<int64_t>(r) * depth;
    __m512i a = _mm512_setzero_si512();
    for (int32_t k = 0; k < depth; k += 64) a = _mm512_dpbusd_epi32(a, load(x + k), load(row + k));
    acc[r] = sum_of_lanes(a);
  }
}

}  // namespace halftone::integer
#endif
