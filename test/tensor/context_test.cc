#include "tensor/context.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <thread>

#include "tensor/error.h"
#include "tensor/memory.h"

using namespace halftone;
using Catch::Contains;

TEST_CASE("copies of a context share everything, two contexts nothing") {
  ContextOptions options;
  options.threads = 3;
  options.seed = 17;
  const Context a(options);
  const Context same = a;
  const Context other(options);
  REQUIRE(a == same);
  REQUIRE_FALSE(a == other);
  REQUIRE(a.threads() == 3);
  REQUIRE(a.random().stream().seed == 17);
  REQUIRE(same.random().next == 1);
  REQUIRE(other.random().next == 0);
  REQUIRE(&a.memory() == &same.memory());
  REQUIRE(&a.memory() != &other.memory());
  a.kernel_cache() = std::make_shared<int>(5);
  REQUIRE(same.kernel_cache() != nullptr);
  REQUIRE(other.kernel_cache() == nullptr);
}

TEST_CASE("threads default to OMP_NUM_THREADS, then to the machine") {
  const char* before = getenv("OMP_NUM_THREADS");
  const std::string saved = before != nullptr ? before : "";
  const int wanted = static_cast<int>(std::thread::hardware_concurrency()) + 5;
  setenv("OMP_NUM_THREADS", (std::to_string(wanted) + ",2").c_str(), 1);
  REQUIRE(Context().threads() == wanted);
  for (const char* nonsense : {"", "0", "-3", "many"}) {
    setenv("OMP_NUM_THREADS", nonsense, 1);
    REQUIRE(Context().threads() >= 1);
    REQUIRE(Context().threads() != wanted);
  }
  unsetenv("OMP_NUM_THREADS");
  if (before != nullptr) setenv("OMP_NUM_THREADS", saved.c_str(), 1);
}

TEST_CASE("a context that cannot be is an Error") {
  ContextOptions options;
  options.threads = -1;
  REQUIRE_THROWS_WITH(Context(options), Contains("found -1"));
  options.threads = 1;
  options.device = {DeviceType::kCuda, 1};
  REQUIRE_THROWS_WITH(Context(options), Contains("cuda:1: expected a CUDA device, found this "
                                                 "program was built without CUDA (build it with "
                                                 "--config=cuda)"));
}
