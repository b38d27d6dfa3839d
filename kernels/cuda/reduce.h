// Sums and ranges in a fixed order: within a pack by one thread, over the threads of a block in
// shared memory, over blocks by the block that finishes last, from memory, in order of the blocks.
// No atomics on floats, so the same bits every time.
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

// Merges values that lie in memory: write(f, total of read(f, 0), ..., read(f, count - 1)) for
// every item f. `stage`: room for kThreads totals. All threads of the block call it.
template <class Total, class Thread, class Read, class Write>
HALFTONE_HD void gather(const Thread& t, Total* stage, int64_t items, int64_t count,
                        const Read& read, const Write& write) {
  int side = 1;
  while (side < kThreads && side < items) side *= 2;
  const int lanes = kThreads / side, lane = t.index() / side;
  for (int64_t base = 0; base < items; base += side) {
    const int64_t f = base + t.index() % side;
    Total total{};
    if (f < items) {
      HALFTONE_UNROLL_BY_4
      for (int64_t k = lane; k < count; k += lanes) total.merge(read(f, k));
    }
    t.sync();  // the stage has been read
    Total* mine = stage + t.index();
    *mine = total;
    merge_places(t, mine, lane, lanes, side);
    if (f < items && lane == 0) write(f, *mine);
  }
}

// Whether this block is the last of `blocks` to come here, and so sees what all of them wrote
// before. `counter` is 0 before and after; `flag` lies in shared memory. All threads call it.
template <class Thread>
HALFTONE_HD bool is_last_block(const Thread& t, uint32_t* counter, uint32_t blocks,
                               uint32_t* flag) {
  t.fence();
  t.sync();
  if (t.index() == 0) {
    *flag = t.add(counter, uint32_t{1}) == blocks - 1;
    if (*flag) *counter = 0;
  }
  t.sync();
  const bool last = *flag != 0;
  if (last) t.fence();
  return last;
}

}  // namespace halftone::kernels::cuda
