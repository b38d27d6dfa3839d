// One-bit products. Two words of a pixel and of a channel's weights are added to the parity of
// those before: `parity` says whether an odd number of bits differed so far, in each of 32 places,
// and the carry is a bit worth two. Five operations for two words, where exclusive or, vpopcntd and
// an addition for each word are six.
#include "kernels/integer/products_bodies.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include <utility>

#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx512vpopcntdq,avx2,fma")

namespace halftone::integer {
namespace {

#include "kernels/integer/products_loops.h"
// Behind it:
#include "kernels/integer/products_avx512_results.h"

// Pixels of a tile: two registers for each vector of a pixel.
template <int V>
constexpr int kMaxPixels = V == 1   ? 8
                           : V == 2 ? 5
                           : V == 3 ? 4
                                    : 3;

// Not the intrinsics: gcc 12 then keeps a second copy of every sum, in memory.
//
// (a, b) stored as (a, a ^ b): the parities behind each.
inline __m512i exclusive_or(__m512i parity, __m512i x, const int8_t* w) {
  const auto& words = *reinterpret_cast<const __m512i_u*>(w);
  asm("vpternlogd $0x96, %2, %1, %0" : "+v"(parity) : "v"(x), "m"(words));
  return parity;
}
// Two of the three that were added, from the parities before, between and behind.
inline __m512i carry_of(__m512i before, __m512i between, __m512i behind) {
  return _mm512_ternarylogic_epi32(before, between, behind, 0x74);
}
inline void add(__m512i count, __m512i& sum) { asm("vpaddd %1, %0, %0" : "+v"(sum) : "v"(count)); }

template <int P, int V, class Sink>
void tile(const BitSlab& b, int64_t first, const Sink& sink) {
  const Slab& s = b.slab;
  const uint8_t* x[P];
  __m512i parity[P][V], twos[P][V];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
    x[p] = s.x + s.from[first + p];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) parity[p][v] = twos[p][v] = _mm512_setzero_si512();
  }
  const int8_t* w = s.weights;
  for (int64_t r = 0; r < s.run_count; ++r) {
    const int64_t end = s.runs[r] + s.run_bytes;
    for (int64_t k = s.runs[r]; k < end; k += 8, w += 2 * V * kLanes * 4) {
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) {
        const __m512i word = four_codes(x[p] + k), both = four_codes(x[p] + k + 4);
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
          const __m512i between = exclusive_or(parity[p][v], word, w + v * kLanes * 4);
          const __m512i behind = exclusive_or(parity[p][v], both, w + (V + v) * kLanes * 4);
          const __m512i carry = carry_of(parity[p][v], between, behind);
          add(_mm512_popcnt_epi32(carry), twos[p][v]);
          parity[p][v] = behind;
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
    const int32_t* start = s.start + b.start_of[first + p];
    __m512i acc[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const __m512i count = _mm512_add_epi32(_mm512_add_epi32(twos[p][v], twos[p][v]),
                                             _mm512_popcnt_epi32(parity[p][v]));
      acc[v] = _mm512_sub_epi32(load(start + v * kLanes),
                                _mm512_sllv_epi32(count, load(b.shift + v * kLanes)));
    }
    sink(s, acc, first + p);
  }
}

#include "kernels/integer/products_avx512_tiles.h"

}  // namespace

void multiply_bits_avx512(const BitSlab& b) { multiply_tiles(b); }

void pack_bits_avx512(const uint8_t* codes, int64_t pixels, int32_t channels, uint8_t* bits) {
  const __m512i two = _mm512_set1_epi8(2);
  for (int64_t p = 0; p < pixels; ++p) {
    for (int32_t left = channels; left > 0; left -= kBitPair, bits += 8) {
      const int32_t count = left < kBitPair ? left : kBitPair;
      const __m512i v = _mm512_maskz_loadu_epi8(first_bits(count), codes);
      uint64_t pair = _cvtmask64_u64(_mm512_test_epi8_mask(v, two));
      pair ^= pair << 32;
      memcpy(bits, &pair, 8);
      codes += count;
    }
  }
}

}  // namespace halftone::integer
#endif
