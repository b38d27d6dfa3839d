// Threads that work on one thing together.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace halftone::runtime {

class ThreadTeam {
 public:
  explicit ThreadTeam(int threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }
  // work(i) on thread i of size(), the caller's being 0; returns when all have returned. `work`
  // throws nothing.
  void run(const std::function<void(int)>& work);
  // Inside `work`, on every thread: none goes on before all are here.
  void meet();

 private:
  void serve(int index);
  // Waits for round_ to pass `round`; false when the team ends.
  bool await(unsigned round);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  const std::function<void(int)>* work_ = nullptr;
  std::atomic<unsigned> round_{0};
  std::atomic<int> busy_{0};  // workers that have not finished the round
  std::atomic<int> met_{0};
  std::atomic<unsigned> meeting_{0};
  std::atomic<bool> ends_{false};
};

}  // namespace halftone::runtime
