// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as
// easy as 1, 2, 3").
#pragma once

#include <array>
#include <cstdint>

namespace halftone {

// A pure function of (seed, stream, counter): the same on every device and thread count.
struct Philox {
  uint64_t seed = 0;
  uint64_t stream = 0;
  std::array<uint32_t, 4> operator()(uint64_t counter) const;
  // Element i of the stream: four elements share one counter.
  uint32_t bits(uint64_t i) const { return (*this)(i / 4)[i % 4]; }
  float uniform(uint64_t i) const;  // [0, 1), 24 bits
  float normal(uint64_t i) const;   // mean 0, standard deviation 1
  // [0, bound). Takes the whole counter i, so give it a stream of its own.
  uint64_t below(uint64_t i, uint64_t bound) const;
};

// Hands out streams; two integers that a checkpoint holds.
struct RandomState {
  uint64_t seed = 0;
  uint64_t next = 0;
  Philox stream() { return Philox{seed, next++}; }
};

}  // namespace halftone
