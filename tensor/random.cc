#include "tensor/random.h"

#include <cmath>

#include "tensor/error.h"

namespace halftone {
namespace {

constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;  // golden ratio, sqrt(3) - 1

inline uint32_t low(uint64_t v) { return static_cast<uint32_t>(v); }
inline uint32_t high(uint64_t v) { return static_cast<uint32_t>(v >> 32); }

}  // namespace

// Key: the seed. Counter words, lowest first: counter, stream.
std::array<uint32_t, 4> Philox::operator()(uint64_t counter) const {
  std::array<uint32_t, 4> c = {low(counter), high(counter), low(stream), high(stream)};
  uint32_t k0 = low(seed), k1 = high(seed);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(kMultiplier0) * c[0];
    const uint64_t p1 = static_cast<uint64_t>(kMultiplier1) * c[2];
    c = {high(p1) ^ c[1] ^ k0, low(p1), high(p0) ^ c[3] ^ k1, low(p0)};
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return c;
}

float Philox::uniform(uint64_t i) const { return static_cast<float>(bits(i) >> 8) * 0x1p-24f; }

// Box-Muller on the word pairs (0, 1) and (2, 3) of a counter: even elements take the cosine, odd
// ones the sine. In double, so that the last bit of a platform's libm rarely reaches the result.
float Philox::normal(uint64_t i) const {
  constexpr double kTwoPi = 6.283185307179586;
  const std::array<uint32_t, 4> words = (*this)(i / 4);
  const size_t pair = i % 4 & ~size_t{1};
  const double radius_uniform = (words[pair] + 1.0) * 0x1p-32;  // (0, 1]
  const double angle = kTwoPi * (words[pair + 1] * 0x1p-32);
  const double radius = std::sqrt(-2.0 * std::log(radius_uniform));
  return static_cast<float>(radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle)));
}

// High half of a 64-bit draw times bound (Lemire 2019, without rejection): a bias of bound / 2^64.
uint64_t Philox::below(uint64_t i, uint64_t bound) const {
  if (bound == 0) throw HALFTONE_ERROR("Philox::below").expected("a bound above 0").found("0");
  const std::array<uint32_t, 4> words = (*this)(i);
  const uint64_t draw = static_cast<uint64_t>(words[1]) << 32 | words[0];
  return static_cast<uint64_t>(static_cast<unsigned __int128>(draw) * bound >> 64);
}

}  // namespace halftone
