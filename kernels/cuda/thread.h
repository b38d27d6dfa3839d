// Kernel bodies are functions of a thread, so that the same body runs on a device (launch.cuh) and,
// one fiber per device thread, in the tests of its indexing (test/kernels/cuda/host_grid.h).
//
// A body is a struct, copied to the device, with
//   static constexpr int kShared;                             bytes of shared memory of a block
//   template <class Thread> void operator()(const Thread&) const;
// A Thread has
//   int64_t block();  int index();                            of blocks, of kThreads
//   void sync();                                              all threads of the block
//   template <class T> T* shared();                           the block's shared memory
//   T add(T* count, T n);                                     atomic, returns what was there;
//                                                             uint32_t and uint64_t only
//   void fence();                                             memory writes before it are seen by
//                                                             whoever sees those after it
// A launcher has
//   template <class Body> void run(int64_t blocks, const Body&);
//   void* scratch(size_t bytes);                              until the next call
//   uint32_t* counters(int64_t count);                        zeros; zeros again after a launch
#pragma once

#include <stdint.h>

#include <string>

#include "kernels/integer/host_device.h"
#include "tensor/error.h"

namespace halftone::kernels::cuda {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 0x7fffffff;

inline void check_blocks(int64_t blocks) {
  if (blocks >= 0 && blocks <= kMaxBlocks) return;
  throw HALFTONE_ERROR("cuda")
      .expected("at most " + std::to_string(kMaxBlocks) + " blocks")
      .found(std::to_string(blocks));
}

template <class T>
HALFTONE_HD T smaller(T a, T b) {
  return b < a ? b : a;
}

constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace halftone::kernels::cuda
