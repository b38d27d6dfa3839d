// The shim itself: it sees a missing sync(), and threads that wait at different ones.
#include "test/kernels/cuda/host_grid.h"

#include <catch2/catch.hpp>

using namespace halftone;
using namespace halftone::test;
using kernels::cuda::kThreads;

namespace {

// Each thread takes its neighbour's number, behind it or before it.
struct NeighbourBody {
  static constexpr int kShared = kThreads * sizeof(int);
  void operator()(const HostThread& t) const {
    int* numbers = t.shared<int>();
    numbers[t.index()] = t.index();
    if (synced) t.sync();
    out[t.index()] = numbers[(t.index() + step) % kThreads];
  }
  bool synced;
  int step;
  int* out;
};

// How many of two launches, whose threads take turns in opposite orders, were right.
int right_launches(bool synced, int step) {
  HostLauncher launcher;
  int right = 0;
  for (int turn = 0; turn < 2; ++turn) {
    std::vector<int> out(kThreads, -1);
    launcher.run(1, NeighbourBody{synced, step, out.data()});
    int matches = 0;
    for (int i = 0; i < kThreads; ++i) matches += out[i] == (i + step) % kThreads ? 1 : 0;
    right += matches == kThreads ? 1 : 0;
  }
  return right;
}

struct UnevenBody {
  static constexpr int kShared = 16;
  void operator()(const HostThread& t) const {
    if (t.index() != 7) t.sync();
  }
};

}  // namespace

TEST_CASE("a missing sync shows in one of the two orders") {
  for (const int step : {1, kThreads - 1}) {
    REQUIRE(right_launches(true, step) == 2);
    REQUIRE(right_launches(false, step) < 2);
  }
}

TEST_CASE("threads that wait at different syncs are an error") {
  HostLauncher launcher;
  REQUIRE_THROWS_WITH(launcher.run(1, UnevenBody{}),
                      Catch::Contains("all threads of a block at every sync()"));
}
