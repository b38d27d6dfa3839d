// Products in 16 bits, sums of pairs in 32: |x w| <= 255 * 128, so nothing saturates. (vpmaddubsw,
// the usual short cut, adds pairs in 16 bits and would.)
#include "kernels/integer/products_bodies.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#pragma GCC target("avx2,fma")

namespace halftone::integer {
namespace {

#include "kernels/integer/products_loops.h"

// Four channels; lanes 2 i and 2 i + 1 hold the two halves of channel i's sum.
constexpr int32_t kQuarters = kLanes / 4;

inline __m256i four_codes(const uint8_t* x) {
  int32_t quad;
  memcpy(&quad, x, sizeof(quad));
  return _mm256_cvtepu8_epi16(_mm_set1_epi32(quad));
}

inline __m256i four_weights(const int8_t* w) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)));
}

// Adds the two halves of 8 channels to what the sums start with.
inline void store_sums(__m256i a, __m256i b, const int32_t* start, int32_t* sums) {
  const __m256i pairs = _mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xd8);
  const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(start));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums), _mm256_add_epi32(pairs, first));
}

// One vector of P pixels.
template <int P>
void vector_sums(const Slab& s, const uint8_t* const* x, int32_t v,
                 int32_t (*sums)[kSlabVectors * kLanes]) {
  __m256i acc[P][kQuarters];
  for (auto& pixel : acc) {
    for (__m256i& quarter : pixel) quarter = _mm256_setzero_si256();
  }
  const int8_t* w = s.weights + v * kLanes * kQuad;
  for (int64_t r = 0; r < s.run_count; ++r) {
    const int64_t end = s.runs[r] + s.run_bytes;
    for (int64_t k = s.runs[r]; k < end; k += kQuad, w += s.vectors * kLanes * kQuad) {
      __m256i codes[P];
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) codes[p] = four_codes(x[p] + k);
#pragma GCC unroll 4
      for (int q = 0; q < kQuarters; ++q) {
        const __m256i weights = four_weights(w + 16 * q);
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p)
          acc[p][q] = _mm256_add_epi32(acc[p][q], _mm256_madd_epi16(codes[p], weights));
      }
    }
  }
  const int32_t at = v * kLanes;
  for (int p = 0; p < P; ++p) {
    store_sums(acc[p][0], acc[p][1], s.start + at, sums[p] + at);
    store_sums(acc[p][2], acc[p][3], s.start + at + 8, sums[p] + at + 8);
  }
}

template <int P>
void tile(const Slab& s, PixelWalk& walk) {
  const uint8_t* x[P];
  int64_t to[P];
  int32_t sums[P][kSlabVectors * kLanes];
  for (int p = 0; p < P; ++p, walk.advance()) {
    x[p] = s.x + walk.at(s.from);
    to[p] = walk.at(s.to);
  }
  for (int32_t v = 0; v < s.vectors; ++v) vector_sums<P>(s, x, v, sums);
  for (int p = 0; p < P; ++p) finish_pixel(s, sums[p], to[p]);
}

void multiply(const Slab& s) {
  PixelWalk walk(s.first, s.height, s.width);
  int64_t p = s.first;
  for (; p + 2 <= s.last; p += 2) tile<2>(s, walk);
  if (p < s.last) tile<1>(s, walk);
}

}  // namespace

const Body kAvx2Body{"avx2", multiply, finish_pooled, depthwise};

}  // namespace halftone::integer
#endif
