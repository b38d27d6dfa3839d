// vpdpbusd: four products of a uint8 and an int8 added to an int32, without saturation. Sums stay
// in registers until they are codes.
#include "kernels/integer/products_bodies.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include <utility>

#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx512vnni,avx2,fma")

namespace halftone::integer {
namespace {

#include "kernels/integer/products_loops.h"
// Behind it:
#include "kernels/integer/products_avx512_results.h"

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

// acc += offset * window sum, modulo 2^32.
inline void add_offset(const int32_t* offset, __m512i window, __m512i& acc) {
  acc = _mm512_add_epi32(acc, _mm512_mullo_epi32(window, load(offset)));
}

template <int P, int V, class Sink>
void tile(const Slab& s, int64_t first, const Sink& sink) {
  const uint8_t* x[P];
  __m512i acc[P][V];
  const int32_t* window = s.window == nullptr ? nullptr : s.window + first;
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p) {
    x[p] = s.x + s.from[first + p];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[p][v] = load(s.start + v * kLanes);
    if (window == nullptr) continue;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
      add_offset(s.offset + v * kLanes, _mm512_set1_epi32(window[p]), acc[p][v]);
  }
  const int8_t* w = s.weights;
  for (int64_t r = 0; r < s.run_count; ++r) {
    const int64_t end = s.runs[r] + s.run_bytes;
    for (int64_t k = s.runs[r]; k < end; k += kQuad, w += V * kLanes * kQuad) {
      __m512i weights[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) weights[v] = load(w + v * kLanes * kQuad);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const __m512i codes = four_codes(x[p] + k);
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) add_products(codes, weights[v], acc[p][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p) sink(s, acc[p], first + p);
}

#include "kernels/integer/products_avx512_tiles.h"

template <int V>
void finish_pooled_vectors(const PooledSlab& s) {
  const Rounding<V> rounding(s.multiplier, s.code_range, s.bounded, s.channels);
  pool_rows(s, [&](const int32_t* best, int64_t to) {
    __m512i acc[V];
    for (int v = 0; v < V; ++v) acc[v] = load(best + v * kLanes);
    store_codes<V>(acc, rounding, s.codes + to);
  });
}

void finish_pooled_avx512(const PooledSlab& s) {
  if (s.codes == nullptr) return finish_pooled(s);
  if (s.vectors == 1) return finish_pooled_vectors<1>(s);
  if (s.vectors == 2) return finish_pooled_vectors<2>(s);
  if (s.vectors == 3) return finish_pooled_vectors<3>(s);
  finish_pooled_vectors<4>(s);
}

// ---- depthwise: 64 channels at a time, four taps of a column side by side in every lane ----

using Block = Rounding<kSlabVectors>;

// Codes of 64 channels from four rows, as 4 vectors of quads, in a slab's order.
inline void interleave(const uint8_t* const* rows, int64_t at, __m512i* quads) {
  const __m512i a = load(rows[0] + at), b = load(rows[1] + at);
  const __m512i c = load(rows[2] + at), d = load(rows[3] + at);
  const __m512i ab = _mm512_unpacklo_epi8(a, b), cd = _mm512_unpacklo_epi8(c, d);
  const __m512i ef = _mm512_unpackhi_epi8(a, b), gh = _mm512_unpackhi_epi8(c, d);
  quads[0] = _mm512_unpacklo_epi16(ab, cd), quads[1] = _mm512_unpackhi_epi16(ab, cd);
  quads[2] = _mm512_unpacklo_epi16(ef, gh), quads[3] = _mm512_unpackhi_epi16(ef, gh);
}

inline void add_quads(const __m512i* quads, const int8_t* w, __m512i* acc) {
#pragma GCC unroll 4
  for (int v = 0; v < kSlabVectors; ++v)
    add_products(quads[v], load(w + v * kLanes * kQuad), acc[v]);
}

constexpr int64_t kQuadWeights = kDepthwiseBlock * kQuad;

// The rows of a quad of kernel rows; those that are missing meet zero weights.
inline void quad_rows(const Depthwise& d, const uint8_t* x, int32_t quad, const uint8_t** rows) {
  for (int32_t i = 0; i < kQuad; ++i) {
    const int32_t row = quad * kQuad + i;
    rows[i] = x + (row < d.kernel_h ? row : d.kernel_h - 1) * d.tap_row;
  }
}

// Ones where add_quads() meets the rows of a quad of kernel rows, zeros where they are missing.
inline __m512i ones_of(const Depthwise& d, int32_t quad) {
  const int32_t missing = quad * kQuad + kQuad - d.kernel_h;
  return _mm512_set1_epi32(missing > 0 ? 0x01010101 >> 8 * missing : 0x01010101);
}

// One pixel after the other. kOffsets: with d.offset times the sums of the windows.
template <bool kOffsets>
void depthwise_row(const Depthwise& d, const uint8_t* x, const int8_t* weights,
                   const int32_t* start, const Block& block, uint8_t* codes) {
  const int32_t quads = (d.kernel_h + kQuad - 1) / kQuad;
  for (int32_t p = 0; p < d.width; ++p, x += d.from.column, codes += d.to.column) {
    __m512i acc[kSlabVectors], taps[kSlabVectors], window[kSlabVectors] = {};
    for (int v = 0; v < kSlabVectors; ++v) acc[v] = load(start + v * kLanes);
    for (int32_t q = 0; q < quads; ++q) {
      const uint8_t* rows[kQuad];
      quad_rows(d, x, q, rows);
      const __m512i ones = ones_of(d, q);
      for (int32_t j = 0; j < d.kernel_w; ++j) {
        interleave(rows, j * d.tap_column, taps);
        add_quads(taps, weights + (int64_t{j} * quads + q) * kQuadWeights, acc);
        for (int v = 0; kOffsets && v < kSlabVectors; ++v) add_products(taps[v], ones, window[v]);
      }
    }
    for (int v = 0; kOffsets && v < kSlabVectors; ++v)
      add_offset(d.offset + (start - d.start) + v * kLanes, window[v], acc[v]);
    store_codes<kSlabVectors>(acc, block, codes);
  }
}

// Kernels of three columns that move by one: a column is interleaved once for the three pixels that
// it belongs to.
void depthwise_row_of_three(const Depthwise& d, const uint8_t* x, const int8_t* weights,
                            const int32_t* start, const Block& block, uint8_t* codes) {
  const uint8_t* rows[kQuad];
  quad_rows(d, x, 0, rows);
  __m512i left[kSlabVectors], middle[kSlabVectors], right[kSlabVectors], taps[kSlabVectors];
  for (int v = 0; v < kSlabVectors; ++v) left[v] = middle[v] = load(start + v * kLanes);
  interleave(rows, 0, taps);
  add_quads(taps, weights, left);
  interleave(rows, d.tap_column, taps);
  add_quads(taps, weights + kQuadWeights, left);
  add_quads(taps, weights, middle);
  for (int32_t p = 0; p < d.width; ++p, codes += d.to.column) {
    interleave(rows, (p + 2) * d.tap_column, taps);
    add_quads(taps, weights + 2 * kQuadWeights, left);
    add_quads(taps, weights + kQuadWeights, middle);
#pragma GCC unroll 4
    for (int v = 0; v < kSlabVectors; ++v) right[v] = load(start + v * kLanes);
    add_quads(taps, weights, right);
    store_codes<kSlabVectors>(left, block, codes);
#pragma GCC unroll 4
    for (int v = 0; v < kSlabVectors; ++v) left[v] = middle[v], middle[v] = right[v];
  }
}

void depthwise_avx512(const Depthwise& d) {
  const bool slides = d.kernel_w == 3 && d.kernel_h <= kQuad && d.from.column == d.tap_column;
  const auto run = d.offset != nullptr ? depthwise_row<true>
                   : slides            ? depthwise_row_of_three
                                       : depthwise_row<false>;
  const int64_t quads = (d.kernel_h + kQuad - 1) / kQuad;
  for (int64_t row = d.first; row < d.last; ++row) {
    const int64_t image = row / d.height, y = row % d.height;
    const uint8_t* x = d.x + image * d.from.image + y * d.from.row;
    uint8_t* codes = d.codes + image * d.to.image + y * d.to.row;
    for (int32_t c = 0; c < d.channels; c += kDepthwiseBlock) {
      const int8_t* weights = d.weights + c / kDepthwiseBlock * d.kernel_w * quads * kQuadWeights;
      const Block block(d.multiplier + c, d.code_range, d.bounded, d.channels - c);
      run(d, x + c, weights, d.start + c, block, codes + c);
    }
  }
}

}  // namespace

const Body kAvx512Body{
    "avx512-vnni", multiply_tiles<Slab>, finish_pooled_avx512, depthwise_avx512, nullptr, nullptr};

}  // namespace halftone::integer
#endif
