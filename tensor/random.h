// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as
// easy as 1, 2, 3").
#pragma once

#include <array>
#include <cstdint>

namespace halftone {

// A pure function of (seed, stream, counter): the same on every device and thread count. What is
// constexpr may be called in device code too (nvcc --expt-relaxed-constexpr).
struct Philox {
  uint64_t seed = 0;
  uint64_t stream = 0;
  // A device's word, which its kernels add to `stream`: a recorded step (train/step_graph.h) draws
  // other numbers whenever it runs. Null or 0 for everybody else.
  const uint64_t* later = nullptr;
  constexpr std::array<uint32_t, 4> operator()(uint64_t counter) const;
  // Element i of the stream: four elements share one counter.
  constexpr uint32_t bits(uint64_t i) const { return (*this)(i / 4)[i % 4]; }
  // [0, 1), 24 bits.
  constexpr float uniform(uint64_t i) const { return uniform_of(bits(i)); }
  static constexpr float uniform_of(uint32_t word) {
    return static_cast<float>(word >> 8) * 0x1p-24f;
  }
  float normal(uint64_t i) const;  // mean 0, standard deviation 1
  // [0, bound). Takes the whole counter i, so give it a stream of its own.
  uint64_t below(uint64_t i, uint64_t bound) const;
};

// Key: the seed. Counter words, lowest first: counter, stream.
constexpr std::array<uint32_t, 4> Philox::operator()(uint64_t counter) const {
  uint32_t c0 = static_cast<uint32_t>(counter), c1 = static_cast<uint32_t>(counter >> 32);
  uint32_t c2 = static_cast<uint32_t>(stream), c3 = static_cast<uint32_t>(stream >> 32);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c0, p1 = uint64_t{0xCD9E8D57} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9;  // Weyl constants: golden ratio, sqrt(3) - 1
    k1 += 0xBB67AE85;
  }
  return {c0, c1, c2, c3};
}

// Hands out streams; two integers that a checkpoint holds.
struct RandomState {
  uint64_t seed = 0;
  uint64_t next = 0;
  const uint64_t* later = nullptr;  // of every stream; no part of the state
  Philox stream() { return Philox{seed, next++, later}; }
};

}  // namespace halftone
