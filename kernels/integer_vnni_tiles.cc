// The register tiles of integer_vnni.h.
#include <immintrin.h>

#include <utility>

#include "kernels/integer_vnni.h"

#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx512vnni,avx2,fma")

namespace halftone::kernels {
namespace {

// Pixels of a tile of V vectors: sums, weights and one broadcast fit 32 registers, and the pixels'
// addresses fit the 16 others.
template <int V>
constexpr int kMaxPixels = V == 1   ? 12
                           : V == 2 ? 10
                           : V == 3 ? 8
                                    : 6;

// acc += four products in each lane. Not the intrinsic: gcc 12 then keeps a second copy of every
// sum, in memory.
inline void add_products(__m512i codes, __m512i weights, __m512i& acc) {
  asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(codes), "v"(weights));
}

inline __m512i four_codes(const uint8_t* x) {
  int32_t quad;
  __builtin_memcpy(&quad, x, sizeof quad);
  return _mm512_set1_epi32(quad);
}

template <int V>
__mmask16 lanes_of(const VnniSlab& s, int v) {
  const int64_t left = s.channels - v * kVnniLanes;
  return left >= kVnniLanes ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
}

template <int P, int V>
void tile(const VnniSlab& s, int64_t first) {
  const uint8_t* x[P];
  __m512i acc[P][V];
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p) {
    x[p] = s.x + s.offsets[first + p];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[p][v] = _mm512_loadu_si512(s.start + v * kVnniLanes);
  }
  const int32_t* w = s.weights;
  for (int64_t r = 0; r < s.run_count; ++r) {
    const int64_t end = s.runs[r] + s.run_bytes;
    for (int64_t k = s.runs[r]; k < end; k += 4, w += V * kVnniLanes) {
      __m512i weights[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) weights[v] = _mm512_loadu_si512(w + v * kVnniLanes);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const __m512i codes = four_codes(x[p] + k);
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) add_products(codes, weights[v], acc[p][v]);
      }
    }
  }
  int32_t* to = s.acc + first * s.acc_step;
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p, to += s.acc_step) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
      _mm512_mask_storeu_epi32(to + v * kVnniLanes, lanes_of<V>(s, v), acc[p][v]);
  }
}

using Tile = void (*)(const VnniSlab&, int64_t);

// Entry P of the table is the tile of P pixels.
template <int V, class Sequence>
struct Tiles;
template <int V, int... P>
struct Tiles<V, std::integer_sequence<int, P...>> {
  static constexpr Tile kTable[] = {nullptr, tile<P + 1, V>...};
};

template <int V>
void multiply(const VnniSlab& s) {
  constexpr int kMax = kMaxPixels<V>;
  using Table = Tiles<V, std::make_integer_sequence<int, kMax>>;
  const int64_t tiles = (s.pixels + kMax - 1) / kMax;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t begin = s.pixels * i / tiles, end = s.pixels * (i + 1) / tiles;
    Table::kTable[end - begin](s, begin);
  }
}

}  // namespace

void vnni_multiply(const VnniSlab& slab) {
  switch (slab.vectors) {
    case 1:
      return multiply<1>(slab);
    case 2:
      return multiply<2>(slab);
    case 3:
      return multiply<3>(slab);
    default:
      return multiply<4>(slab);
  }
}

}  // namespace halftone::kernels
