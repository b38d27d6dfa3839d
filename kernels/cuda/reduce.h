// Sums and ranges in a fixed order: within a pack by one thread, over the threads of a block in
// shared memory, over blocks by a second launch. No atomics on floats, so the same bits every time.
#pragma once

#include "kernels/cuda/thread.h"

namespace halftone::kernels::cuda {

// The Tile and Total of an op that reduces nothing.
struct Nothing {
  template <class Other>
  HALFTONE_HD void take(const Other&) {}
  HALFTONE_HD void merge(const Nothing&) {}
};

// Float within a tile of at most 64 terms, double across tiles.
template <int kCount>
struct SumTile {
  float sum[kCount] = {};
};

template <int kCount>
struct SumTotal {
  double sum[kCount] = {};
  HALFTONE_HD void take(const SumTile<kCount>& tile) {
    for (int k = 0; k < kCount; ++k) sum[k] += static_cast<double>(tile.sum[k]);
  }
  HALFTONE_HD void merge(const SumTotal& other) {
    for (int k = 0; k < kCount; ++k) sum[k] += other.sum[k];
  }
};

// Merges the values of `count` threads whose values lie `step` apart in shared memory; the result
// is with the thread whose `place` is 0. All threads of the block call it. Two rounds: place p < q
// takes p + q, p + 2 q, ..., then place 0 takes the others below q.
template <class Thread, class Total>
HALFTONE_HD void merge_places(const Thread& t, Total* mine, int place, int count, int step) {
  int q = 1;
  while (q * q < count) q *= 2;
  t.sync();
  if (place >= 0 && place < q) {
    for (int k = place + q; k < count; k += q) mine->merge(mine[(k - place) * step]);
  }
  t.sync();
  if (place == 0) {
    for (int k = 1; k < smaller(q, count); ++k) mine->merge(mine[k * step]);
  }
}

}  // namespace halftone::kernels::cuda
