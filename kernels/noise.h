// Draws of a Philox stream (tensor/random.h) in vectors, for elementwise kernels.
#pragma once

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>

#include "tensor/random.h"

namespace halftone::kernels {

constexpr int64_t kNoiseCounters = 16;               // Philox counters that run side by side
constexpr int64_t kNoiseBlock = 4 * kNoiseCounters;  // elements they make

typedef uint32_t Word __attribute__((vector_size(32)));
typedef uint64_t Wide __attribute__((vector_size(32)));

// Low and high halves of the lanes' 64-bit products with a constant.
struct Product {
  Word low, high;
};

// gcc 12 does not see that 64-bit lanes hold 32-bit numbers: it would multiply three times.
inline Wide multiply_even(Word x, uint32_t factor) {
#ifdef __AVX2__
  return (Wide)_mm256_mul_epu32((__m256i)x, _mm256_set1_epi64x(factor));
#else
  return ((Wide)x & 0xffffffffu) * static_cast<uint64_t>(factor);
#endif
}

inline Product multiply(Word x, uint32_t factor) {
  const Wide even = multiply_even(x, factor), odd = multiply_even((Word)((Wide)x >> 32), factor);
  return {(Word)((even & 0xffffffffu) | (odd << 32)),
          (Word)((even >> 32) | (odd & ~uint64_t{0xffffffff}))};
}

// Philox4x32-10 (Philox::operator() of tensor/random.h) for eight counters from `first` on;
// words[w][i] is word w of counter first + i.
inline void philox(const Philox& stream, uint64_t first, Word words[4]) {
  Word c0, c1;
  for (uint64_t i = 0; i < 8; ++i) {
    c0[i] = static_cast<uint32_t>(first + i);
    c1[i] = static_cast<uint32_t>((first + i) >> 32);
  }
  Word c2 = static_cast<uint32_t>(stream.stream) - Word{};
  Word c3 = static_cast<uint32_t>(stream.stream >> 32) - Word{};
  uint32_t k0 = static_cast<uint32_t>(stream.seed), k1 = static_cast<uint32_t>(stream.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const Product p0 = multiply(c0, 0xD2511F53u), p1 = multiply(c2, 0xCD9E8D57u);
    c0 = p1.high ^ c1 ^ k0;
    c1 = p1.low;
    c2 = p0.high ^ c3 ^ k1;
    c3 = p0.low;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}

// Puts the four words of each counter side by side: a transpose of 4 x 8, written to out[32].
inline void interleave(const Word words[4], uint32_t* out) {
  const Word low = {0, 8, 1, 9, 4, 12, 5, 13}, high = {2, 10, 3, 11, 6, 14, 7, 15};
  const Word pairs_low = {0, 1, 8, 9, 4, 5, 12, 13}, pairs_high = {2, 3, 10, 11, 6, 7, 14, 15};
  const Word first = {0, 1, 2, 3, 8, 9, 10, 11}, second = {4, 5, 6, 7, 12, 13, 14, 15};
  const Word a = __builtin_shuffle(words[0], words[1], low);
  const Word b = __builtin_shuffle(words[2], words[3], low);
  const Word c = __builtin_shuffle(words[0], words[1], high);
  const Word d = __builtin_shuffle(words[2], words[3], high);
  // Counters 0 and 4, 1 and 5, 2 and 6, 3 and 7.
  const Word p = __builtin_shuffle(a, b, pairs_low), q = __builtin_shuffle(a, b, pairs_high);
  const Word r = __builtin_shuffle(c, d, pairs_low), s = __builtin_shuffle(c, d, pairs_high);
  const Word result[4] = {__builtin_shuffle(p, q, first), __builtin_shuffle(r, s, first),
                          __builtin_shuffle(p, q, second), __builtin_shuffle(r, s, second)};
  std::memcpy(out, result, sizeof result);
}

// The draws of elements [kNoiseBlock * block, + kNoiseBlock), in the order of the elements.
inline void draws(const Philox& stream, int64_t block, uint32_t* out) {
  for (int64_t half = 0; half < kNoiseCounters / 8; ++half) {
    Word words[4];
    philox(stream, static_cast<uint64_t>(block * kNoiseCounters + half * 8), words);
    interleave(words, out + half * 32);
  }
}

// Philox::uniform of the same element.
inline float noise_uniform(uint32_t draw) {
  return static_cast<float>(static_cast<int32_t>(draw >> 8)) * 0x1p-24f;
}

}  // namespace halftone::kernels
