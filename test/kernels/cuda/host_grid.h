// Runs kernel bodies on the CPU: bodies without shared memory thread after thread, the others with
// one system thread per device thread, so that a missing sync() is a data race that --config=tsan
// sees.
#pragma once

#include <pthread.h>

#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "kernels/cuda/thread.h"

namespace halftone::test {

class HostThread {
 public:
  HostThread(int64_t block, int index, unsigned char* shared, pthread_barrier_t* barrier)
      : block_(block), index_(index), shared_(shared), barrier_(barrier) {}
  int64_t block() const { return block_; }
  int index() const { return index_; }
  void sync() const { pthread_barrier_wait(barrier_); }
  template <class T>
  T* shared() const {
    return reinterpret_cast<T*>(shared_);
  }
  template <class T>
  void add(T* count, T n) const {
    __atomic_fetch_add(count, n, __ATOMIC_RELAXED);
  }

 private:
  int64_t block_;
  int index_;
  unsigned char* shared_;
  pthread_barrier_t* barrier_;
};

class HostLauncher {
 public:
  template <class Body>
  void run(int64_t blocks, const Body& body) {
    kernels::cuda::check_blocks(blocks);
    if (Body::kShared > 0) {
      run_together(blocks, body);
    } else {
      for (int64_t b = 0; b < blocks; ++b) {
        for (int t = 0; t < kernels::cuda::kThreads; ++t) body(HostThread(b, t, nullptr, nullptr));
      }
    }
  }

  // Filled with a pattern: nothing may rely on zeros.
  void* scratch(size_t bytes) {
    scratch_.assign(bytes / sizeof(double) + 1, -1e300);
    return scratch_.data();
  }

 private:
  template <class Body>
  void run_together(int64_t blocks, const Body& body) {
    std::vector<double> shared(Body::kShared / sizeof(double) + 2);
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, nullptr, kernels::cuda::kThreads);
    std::vector<std::thread> threads;
    for (int t = 0; t < kernels::cuda::kThreads; ++t) {
      threads.emplace_back([&, t] {
        auto* memory = reinterpret_cast<unsigned char*>(shared.data());
        for (int64_t b = 0; b < blocks; ++b) {
          body(HostThread(b, t, memory, &barrier));
          pthread_barrier_wait(&barrier);  // the next block has shared memory of its own
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    pthread_barrier_destroy(&barrier);
  }

  std::vector<double> scratch_;
};

}  // namespace halftone::test
