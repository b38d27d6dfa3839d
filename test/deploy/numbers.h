// Numbers that look random, the same everywhere.
#pragma once

#include <cstdint>

namespace halftone::test {

struct Numbers {
  uint32_t state;
  uint32_t next() { return (state = state * 1664525u + 1013904223u) >> 8; }
  int32_t below(int32_t n) { return static_cast<int32_t>(next() % static_cast<uint32_t>(n)); }
};

}  // namespace halftone::test
