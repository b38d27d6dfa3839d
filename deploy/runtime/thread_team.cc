#include "deploy/runtime/thread_team.h"

#include <chrono>

namespace halftone::runtime {
namespace {

// A waiting thread looks this often before it lets others run, and a worker without work sleeps
// after this time: images that follow each other find it awake.
constexpr int kLooks = 2000;
constexpr std::chrono::microseconds kAwake{200};

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

template <class Condition>
void wait_until(Condition holds) {
  for (int looks = 0; !holds(); ++looks) {
    if (looks < kLooks) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace

ThreadTeam::ThreadTeam(int threads) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { serve(i); });
}

ThreadTeam::~ThreadTeam() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ends_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadTeam::run(const std::function<void(int)>& work) {
  if (workers_.empty()) return work(0);
  busy_ = static_cast<int>(workers_.size());
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    work_ = &work;
    ++round_;
  }
  wake_.notify_all();
  work(0);
  wait_until([this] { return busy_ == 0; });
}

void ThreadTeam::meet() {
  const unsigned meeting = meeting_;
  if (++met_ == size()) {
    met_ = 0;
    ++meeting_;
    return;
  }
  wait_until([&] { return meeting_ != meeting; });
}

bool ThreadTeam::await(unsigned round) {
  const auto until = std::chrono::steady_clock::now() + kAwake;
  const auto ready = [&] { return ends_ || round_ != round; };
  while (!ready() && std::chrono::steady_clock::now() < until) pause();
  if (!ready()) {
    std::unique_lock<std::mutex> lock(mutex_);
    wake_.wait(lock, ready);
  }
  return round_ != round;
}

void ThreadTeam::serve(int index) {
  for (unsigned round = 0; await(round); ++round) {
    (*work_)(index);
    --busy_;
  }
}

}  // namespace halftone::runtime
