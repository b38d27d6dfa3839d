// What every processor can run, and the choice among bodies.
#include <math.h>
#include <string.h>

#include "kernels/integer/products_bodies.h"

namespace halftone::integer {
namespace {

#include "kernels/integer/products_loops.h"

// Modulo 2^32.
void sums_of(const Slab& s, const uint8_t* x, int32_t* sums) {
  const int32_t width = s.vectors * kLanes;
  uint32_t total[kSlabVectors * kLanes];
  for (int32_t i = 0; i < width; ++i) total[i] = static_cast<uint32_t>(s.start[i]);
  const int8_t* w = s.weights;
  for (int64_t r = 0; r < s.run_count; ++r) {
    const uint8_t* run = x + s.runs[r];
    for (int64_t k = 0; k < s.run_bytes; k += kQuad, w += width * kQuad) {
      for (int32_t i = 0; i < width; ++i) {
        for (int32_t j = 0; j < kQuad; ++j)
          total[i] += static_cast<uint32_t>(int32_t{run[k + j]} * w[i * kQuad + j]);
      }
    }
  }
  for (int32_t i = 0; i < width; ++i) sums[i] = static_cast<int32_t>(total[i]);
}

void multiply(const Slab& s) {
  for (int64_t p = 0; p < s.pixels; ++p) {
    int32_t sums[kSlabVectors * kLanes];
    sums_of(s, s.x + s.from[p], sums);
    add_offsets(s, p, sums);
    finish_pixel(s, sums, p);
  }
}

uint32_t word_at(const void* words, int64_t i) {
  uint32_t word;
  memcpy(&word, static_cast<const uint8_t*>(words) + i * 4, 4);
  return word;
}

// Bits that differ, of one lane.
int32_t differing(const BitSlab& b, const uint8_t* x, int32_t lane) {
  const Slab& s = b.slab;
  const int32_t width = s.vectors * kLanes;
  int32_t count = 0;
  int64_t word = 0;
  for (int64_t r = 0; r < s.run_count; ++r) {
    for (int64_t k = 0; k < s.run_bytes; k += 8, word += 2) {
      const uint32_t first =
          word_at(x + s.runs[r] + k, 0) ^ word_at(s.weights, word * width + lane);
      const uint32_t both =
          word_at(x + s.runs[r] + k, 1) ^ word_at(s.weights, (word + 1) * width + lane);
      count += __builtin_popcount(first) + __builtin_popcount(both ^ first);
    }
  }
  return count;
}

void multiply_bits(const BitSlab& b) {
  const Slab& s = b.slab;
  for (int64_t p = 0; p < s.pixels; ++p) {
    const uint8_t* x = s.x + s.from[p];
    const int32_t* start = s.start + b.start_of[p];
    int32_t sums[kSlabVectors * kLanes];
    for (int32_t i = 0; i < s.vectors * kLanes; ++i) {
      const uint64_t scaled = static_cast<uint64_t>(differing(b, x, i)) << b.shift[i];
      sums[i] =
          static_cast<int32_t>(static_cast<uint32_t>(start[i]) - static_cast<uint32_t>(scaled));
    }
    finish_pixel(s, sums, p);
  }
}

void pack_bits(const uint8_t* codes, int64_t pixels, int32_t channels, uint8_t* bits) {
  for (int64_t p = 0; p < pixels; ++p) {
    for (int32_t first = 0; first < channels; first += kBitPair, bits += 8) {
      uint64_t pair = 0;
      for (int32_t c = first; c < channels && c < first + kBitPair; ++c)
        pair |= uint64_t{*codes++ > 1} << (c - first);
      pair ^= pair << 32;
      memcpy(bits, &pair, 8);
    }
  }
}

std::vector<Body> runnable() {
  std::vector<Body> list = {kScalarBody};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) list.push_back(kAvx2Body);
  bool all = true;
  all = all && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
  all = all && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  if (all && __builtin_cpu_supports("avx512vnni")) {
    Body body = kAvx512Body;
    body.pack_bits = pack_bits_avx512;
    body.multiply_bits =
        __builtin_cpu_supports("avx512vpopcntdq") ? multiply_bits_avx512 : kAvx2Body.multiply_bits;
    list.push_back(body);
  }
#endif
  return list;
}

}  // namespace

const Body kScalarBody{"scalar", multiply, finish_pooled, depthwise, multiply_bits, pack_bits};

const std::vector<Body>& bodies() {
  static const std::vector<Body> list = runnable();
  return list;
}

}  // namespace halftone::integer
