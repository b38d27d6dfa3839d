#include "tensor/random.h"

#include <cmath>

#include "tensor/error.h"

namespace halftone {

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
