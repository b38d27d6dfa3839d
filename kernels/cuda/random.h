// The random words of a pack.
#pragma once

#include "kernels/integer/host_device.h"
#include "tensor/random.h"

namespace halftone::kernels::cuda {

template <int N>
struct RandomWords {
  uint32_t word[N];

  // Of elements [i, i + N): N / 4 draws where they start a counter, else one each. i may lie before
  // the array, in a pack whose first elements do not exist.
  HALFTONE_HD void draw(Philox random, int64_t i) {
    if (random.later != nullptr) random.stream += *random.later;
    const uint64_t first = static_cast<uint64_t>(i);
    if (first % 4 == 0) {
      HALFTONE_UNROLL
      for (int k = 0; k < N / 4; ++k) {
        const auto four = random(first / 4 + k);
        HALFTONE_UNROLL
        for (int j = 0; j < 4; ++j) word[4 * k + j] = four[j];
      }
    } else {
      HALFTONE_UNROLL
      for (int j = 0; j < N; ++j) word[j] = pick(random((first + j) / 4), (first + j) % 4);
    }
  }

  // By comparison: an index that is not constant would send the words through memory.
  static HALFTONE_HD uint32_t pick(const std::array<uint32_t, 4>& w, uint64_t k) {
    return k == 0 ? w[0] : (k == 1 ? w[1] : (k == 2 ? w[2] : w[3]));
  }
};

}  // namespace halftone::kernels::cuda
