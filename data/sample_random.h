// A run of random numbers for one generated sample.
#pragma once

#include "tensor/random.h"

namespace halftone {

// Successive draws of one Philox stream. Normal draws are sums of uniforms, not Box-Muller: only
// IEEE arithmetic, so that generated sets are the same bytes on every machine.
class SampleRandom {
 public:
  SampleRandom(uint64_t seed, uint64_t stream) : philox_{seed, stream} {}

  uint32_t bits() {
    if (used_ == 4) {
      words_ = philox_(counter_++);
      used_ = 0;
    }
    return words_[used_++];
  }
  float uniform() { return static_cast<float>(bits() >> 8) * 0x1p-24f; }  // [0, 1)
  float uniform(float low, float high) { return low + (high - low) * uniform(); }
  int below(int bound) {
    return static_cast<int>(uint64_t{bits()} * static_cast<uint64_t>(bound) >> 32);
  }
  bool chance(float probability) { return uniform() < probability; }

  // Mean 0, variance 1, within +-3.47: the sum of four uniforms of 16 bits, scaled by sqrt(3).
  float normal() {
    const uint32_t a = bits(), b = bits();
    const auto sum = static_cast<float>((a & 0xffff) + (a >> 16) + (b & 0xffff) + (b >> 16));
    return (sum * 0x1p-16f - 2.0f) * 1.7320508f;
  }
  float normal(float deviation) { return deviation * normal(); }

 private:
  Philox philox_;
  uint64_t counter_ = 0;
  std::array<uint32_t, 4> words_{};
  size_t used_ = 4;
};

}  // namespace halftone
