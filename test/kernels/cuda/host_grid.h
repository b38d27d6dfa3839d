// Runs kernel bodies on the CPU: bodies without shared memory thread after thread, the others with
// a fiber per thread, each running up to its next sync(). The threads take turns first to last
// and, in the next launch, last to first: where a sync() is missing, a value is read before it is
// written in one of the two orders (host_grid_test.cc).
#pragma once

#include <ucontext.h>

#include <functional>
#include <memory>
#include <vector>

#include "kernels/cuda/thread.h"

namespace halftone::test {

// kThreads fibers; each runs work(index) once per round.
class Fibers {
 public:
  explicit Fibers(std::function<void(int)> work) : work_(std::move(work)) {
    for (int i = 0; i < kernels::cuda::kThreads; ++i) {
      stacks_.emplace_back(new unsigned char[kStack]);
      getcontext(&fibers_[i]);
      fibers_[i].uc_stack.ss_sp = stacks_[i].get();
      fibers_[i].uc_stack.ss_size = kStack;
      fibers_[i].uc_link = nullptr;
      const auto self = reinterpret_cast<uintptr_t>(this);
      makecontext(&fibers_[i], reinterpret_cast<void (*)()>(&enter), 2,
                  static_cast<unsigned>(self >> 32), static_cast<unsigned>(self));
    }
  }

  // Every fiber to the end of its work, all with the same number of pauses.
  void round(bool backwards) {
    for (finished_ = 0; finished_ == 0;) {
      for (int k = 0; k < kernels::cuda::kThreads; ++k) {
        current_ = backwards ? kernels::cuda::kThreads - 1 - k : k;
        swapcontext(&home_, &fibers_[current_]);
      }
    }
    if (finished_ != kernels::cuda::kThreads) {
      throw HALFTONE_ERROR("host_grid").expected("all threads of a block at every sync()");
    }
  }
  void pause() { swapcontext(&fibers_[current_], &home_); }

 private:
  static constexpr size_t kStack = 64 << 10;

  static void enter(unsigned high, unsigned low) {
    reinterpret_cast<Fibers*>(static_cast<uintptr_t>(high) << 32 | low)->loop();
  }
  void loop() {
    for (const int index = current_;;) {
      work_(index);
      ++finished_;
      pause();
    }
  }

  std::function<void(int)> work_;
  std::vector<std::unique_ptr<unsigned char[]>> stacks_;
  ucontext_t fibers_[kernels::cuda::kThreads], home_;
  int current_ = 0, finished_ = 0;
};

class HostThread {
 public:
  HostThread(int64_t block, int index, unsigned char* shared, Fibers* fibers)
      : block_(block), index_(index), shared_(shared), fibers_(fibers) {}
  int64_t block() const { return block_; }
  int index() const { return index_; }
  void sync() const { fibers_->pause(); }
  template <class T>
  T* shared() const {
    return reinterpret_cast<T*>(shared_);
  }
  template <class T>
  T add(T* count, T n) const {
    const T old = *count;
    *count += n;
    return old;
  }
  void fence() const {}

 private:
  int64_t block_;
  int index_;
  unsigned char* shared_;
  Fibers* fibers_;
};

class HostLauncher {
 public:
  template <class Body>
  void run(int64_t blocks, const Body& body) {
    kernels::cuda::check_blocks(blocks);
    backwards_ = !backwards_;
    for (int64_t k = 0; k < blocks; ++k) {
      const int64_t block = backwards_ ? blocks - 1 - k : k;
      Body::kShared > 0 ? run_together(block, body) : run_alone(block, body);
    }
  }

  // Filled with a pattern: nothing may rely on zeros.
  void* scratch(size_t bytes) {
    scratch_.assign(bytes / sizeof(double) + 1, -1e300);
    return scratch_.data();
  }
  uint32_t* counters(int64_t count) {
    if (static_cast<int64_t>(counters_.size()) < count) counters_.resize(count);
    return counters_.data();
  }

 private:
  template <class Body>
  void run_alone(int64_t block, const Body& body) {
    for (int t = 0; t < kernels::cuda::kThreads; ++t) body(HostThread(block, t, nullptr, nullptr));
  }
  template <class Body>
  void run_together(int64_t block, const Body& body) {
    shared_.assign(Body::kShared / sizeof(double) + 2, -1e300);
    auto* memory = reinterpret_cast<unsigned char*>(shared_.data());
    task_ = [=, &body](int t) { body(HostThread(block, t, memory, &fibers_)); };
    fibers_.round(backwards_);
  }

  std::function<void(int)> task_;
  Fibers fibers_{[this](int t) { task_(t); }};
  std::vector<double> scratch_, shared_;
  std::vector<uint32_t> counters_;
  bool backwards_ = true;
};

}  // namespace halftone::test
