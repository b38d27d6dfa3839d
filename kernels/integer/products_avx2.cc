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
void tile(const Slab& s, int64_t first) {
  const uint8_t* x[P];
  int32_t sums[P][kSlabVectors * kLanes];
  for (int p = 0; p < P; ++p) x[p] = s.x + s.from[first + p];
  for (int32_t v = 0; v < s.vectors; ++v) vector_sums<P>(s, x, v, sums);
  for (int p = 0; p < P; ++p) {
    add_offsets(s, first + p, sums[p]);
    finish_pixel(s, sums[p], first + p);
  }
}

void multiply(const Slab& s) {
  int64_t p = 0;
  for (; p + 2 <= s.pixels; p += 2) tile<2>(s, p);
  if (p < s.pixels) tile<1>(s, p);
}

// ---- bits: counts by tables of half bytes (vpshufb) ----

inline __m256i words_at(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

// Bits set, in each byte.
inline __m256i count_bits(__m256i v) {
  const __m256i counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                          0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i half = _mm256_set1_epi8(15);
  const __m256i low = _mm256_shuffle_epi8(counts, _mm256_and_si256(v, half));
  const __m256i high = _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi16(v, 4), half));
  return _mm256_add_epi8(low, high);
}

inline __m256i sum_of_bytes(__m256i v) {
  const __m256i pairs = _mm256_maddubs_epi16(v, _mm256_set1_epi8(1));
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

inline __m256i word_of(const uint8_t* x) {
  int32_t word;
  memcpy(&word, x, sizeof(word));
  return _mm256_set1_epi32(word);
}

// Bits that differ in 8 lanes from `lane` on. Bytes hold 15 pairs of words.
inline __m256i differing(const Slab& s, const uint8_t* x, int32_t lane) {
  constexpr int64_t kPairs = 15;
  const int64_t width = int64_t{s.vectors} * kLanes * 4;  // bytes
  const int8_t* w = s.weights + int64_t{lane} * 4;
  __m256i total = _mm256_setzero_si256();
  for (int64_t r = 0; r < s.run_count; ++r) {
    const uint8_t* run = x + s.runs[r];
    for (int64_t begin = 0; begin < s.run_bytes; begin += 8 * kPairs) {
      const int64_t end = begin + 8 * kPairs < s.run_bytes ? begin + 8 * kPairs : s.run_bytes;
      __m256i bytes = _mm256_setzero_si256();
      for (int64_t k = begin; k < end; k += 8, w += 2 * width) {
        const __m256i first = _mm256_xor_si256(word_of(run + k), words_at(w));
        const __m256i both = _mm256_xor_si256(word_of(run + k + 4), words_at(w + width));
        bytes = _mm256_add_epi8(bytes, count_bits(first));
        bytes = _mm256_add_epi8(bytes, count_bits(_mm256_xor_si256(first, both)));
      }
      total = _mm256_add_epi32(total, sum_of_bytes(bytes));
    }
  }
  return total;
}

void multiply_bits(const BitSlab& b) {
  const Slab& s = b.slab;
  for (int64_t p = 0; p < s.pixels; ++p) {
    const uint8_t* x = s.x + s.from[p];
    const int32_t* start = s.start + b.start_of[p];
    int32_t sums[kSlabVectors * kLanes];
    for (int32_t i = 0; i < s.vectors * kLanes; i += 8) {
      const __m256i scaled = _mm256_sllv_epi32(differing(s, x, i), words_at(b.shift + i));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + i),
                          _mm256_sub_epi32(words_at(start + i), scaled));
    }
    finish_pixel(s, sums, p);
  }
}

void pack_bits(const uint8_t* codes, int64_t pixels, int32_t channels, uint8_t* bits) {
  for (int64_t p = 0; p < pixels; ++p) {
    for (int32_t first = 0; first < channels; first += kBitPair, bits += 8) {
      uint8_t pixel[kBitPair] = {};
      const int32_t count = channels - first < kBitPair ? channels - first : kBitPair;
      memcpy(pixel, codes, static_cast<size_t>(count));
      codes += count;
      // Code 2 in the sign's place.
      const auto half = [&](int32_t at) {
        return static_cast<uint32_t>(
            _mm256_movemask_epi8(_mm256_slli_epi16(words_at(pixel + at), 6)));
      };
      const uint32_t pair[2] = {half(0), half(0) ^ half(32)};
      memcpy(bits, pair, 8);
    }
  }
}

}  // namespace

const Body kAvx2Body{"avx2", multiply, finish_pooled, depthwise, multiply_bits, pack_bits};

}  // namespace halftone::integer
#endif
