#include "tensor/memory.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <thread>

#include "tensor/error.h"

using namespace halftone;

namespace {

// Allocates two overlapping blocks and one after them.
void simple_step(MemoryPool& pool, const std::string& key, size_t size) {
  MemoryStep step(pool, key);
  void* a = pool.allocate(size);
  void* b = pool.allocate(2 * size);
  pool.release(a);
  pool.release(b);
  pool.release(pool.allocate(size));
}

}  // namespace

TEST_CASE("blocks are aligned to 64 bytes and writable to their last byte") {
  MemoryPool pool;
  for (size_t bytes : {0, 1, 63, 64, 65, 4096, 1 << 20, (4 << 20) + 1}) {
    void* block = pool.allocate(bytes);
    REQUIRE(reinterpret_cast<uintptr_t>(block) % 64 == 0);
    std::memset(block, 1, bytes);
    pool.release(block);
  }
  REQUIRE(pool.stats().live_bytes == 0);
}

TEST_CASE("a released block serves the next request of its size") {
  MemoryPool pool;
  pool.release(pool.allocate(1000));
  const MemoryStats before = pool.stats();
  REQUIRE(before.cached_bytes >= 1000);
  void* block = pool.allocate(1000);
  REQUIRE(pool.stats().heap_allocations == before.heap_allocations);
  REQUIRE(pool.stats().cached_bytes == 0);
  pool.release(block);
}

TEST_CASE("cached blocks stay below 256 MiB") {
  MemoryPool pool;
  std::vector<void*> blocks;
  for (int i = 0; i < 10; ++i) blocks.push_back(pool.allocate(size_t{40} << 20));
  for (void* block : blocks) pool.release(block);
  REQUIRE(pool.stats().cached_bytes <= size_t{256} << 20);
  REQUIRE(pool.stats().peak_bytes >= size_t{400} << 20);
}

TEST_CASE("a step that repeats is served from the arena alone") {
  MemoryPool pool;
  simple_step(pool, "a", 1000);
  simple_step(pool, "a", 1000);
  const MemoryStats before = pool.stats();
  for (int i = 0; i < 5; ++i) simple_step(pool, "a", 1000);
  const MemoryStats after = pool.stats();
  REQUIRE(after.heap_allocations == before.heap_allocations);
  REQUIRE(after.replayed - before.replayed == 15);
  REQUIRE(after.departures == 0);
  REQUIRE(after.peak_bytes == before.peak_bytes);
  REQUIRE(after.arena_bytes == 3200);  // 1024 + 2048 and two headers; the third block reuses theirs
}

TEST_CASE("keys share one arena, which grows to the largest") {
  MemoryPool pool;
  for (int i = 0; i < 2; ++i) {
    simple_step(pool, "small", 1000);
    simple_step(pool, "large", 100000);
  }
  simple_step(pool, "small", 1000);
  const MemoryStats before = pool.stats();
  REQUIRE(before.live_bytes == before.arena_bytes);
  for (int i = 0; i < 3; ++i) {
    simple_step(pool, "large", 100000);
    simple_step(pool, "small", 1000);
  }
  REQUIRE(pool.stats().heap_allocations == before.heap_allocations);
  REQUIRE(pool.stats().live_bytes == before.live_bytes);
}

TEST_CASE("a step that departs from its record is served from the heap and recorded anew") {
  MemoryPool pool;
  simple_step(pool, "a", 1000);
  simple_step(pool, "a", 5000);  // departs
  REQUIRE(pool.stats().departures == 1);
  simple_step(pool, "a", 5000);  // records
  const uint64_t replayed = pool.stats().replayed;
  simple_step(pool, "a", 5000);
  REQUIRE(pool.stats().replayed == replayed + 3);
  REQUIRE(pool.stats().departures == 1);
}

TEST_CASE("a shorter step departs too") {
  MemoryPool pool;
  simple_step(pool, "a", 1000);
  pool.begin_step("a");
  pool.release(pool.allocate(1000));
  pool.end_step();
  REQUIRE(pool.stats().departures == 1);
}

TEST_CASE("a block that outlives its step keeps its bytes") {
  MemoryPool pool;
  void* kept[3];
  for (int i = 0; i < 3; ++i) {
    MemoryStep step(pool, "a");
    void* passing = pool.allocate(500);
    kept[i] = pool.allocate(500);
    std::memset(passing, 0xff, 500);
    std::memset(kept[i], i + 1, 500);
    pool.release(passing);
  }
  simple_step(pool, "b", 500);
  simple_step(pool, "b", 500);
  for (int i = 0; i < 3; ++i) {
    REQUIRE(static_cast<char*>(kept[i])[0] == i + 1);
    REQUIRE(static_cast<char*>(kept[i])[499] == i + 1);
    pool.release(kept[i]);
  }
  REQUIRE(pool.stats().departures == 0);
}

TEST_CASE("an arena block that unexpectedly outlives its step is not overwritten by later ones") {
  MemoryPool pool;
  simple_step(pool, "a", 1000);
  simple_step(pool, "b", 1000);
  pool.begin_step("a");
  char* kept = static_cast<char*>(pool.allocate(1000));  // replayed: from the arena
  REQUIRE(pool.stats().replayed == 1);
  pool.end_step();
  std::memset(kept, 7, 1000);
  pool.begin_step("b");
  char* other = static_cast<char*>(pool.allocate(1000));
  REQUIRE(pool.stats().replayed == 2);
  std::memset(other, 1, 1000);
  pool.end_step();
  REQUIRE(kept[0] == 7);
  REQUIRE(kept[999] == 7);
  const size_t two_arenas = pool.stats().live_bytes;
  pool.release(kept);
  REQUIRE(pool.stats().live_bytes < two_arenas);
  pool.release(other);
}

TEST_CASE("releases of blocks from before the step are no part of its record") {
  MemoryPool pool;
  for (int i = 0; i < 4; ++i) {
    void* before = i % 2 == 0 ? pool.allocate(300) : nullptr;
    MemoryStep step(pool, "a");
    void* a = pool.allocate(700);
    pool.release(before);
    pool.release(a);
  }
  REQUIRE(pool.stats().departures == 0);
  REQUIRE(pool.stats().replayed == 3);
}

TEST_CASE("other threads use the heap during a step, and may release its blocks") {
  MemoryPool pool;
  for (int i = 0; i < 3; ++i) {
    MemoryStep step(pool, "a");
    void* handed_over = pool.allocate(100);
    void* own = pool.allocate(200);
    std::thread other([&] {
      for (int j = 0; j < 1000; ++j) pool.release(pool.allocate(64 * (j % 10)));
      pool.release(handed_over);
    });
    for (int j = 0; j < 100; ++j) pool.release(pool.allocate(64 * (j % 10)));
    other.join();
    pool.release(own);
  }
  REQUIRE(pool.stats().departures == 0);
  REQUIRE(pool.stats().replayed == 2 * 101);
}

TEST_CASE("misuse of steps throws") {
  MemoryPool pool;
  REQUIRE_THROWS_WITH(pool.end_step(), Catch::Contains("found none"));
  pool.begin_step("outer");
  REQUIRE_THROWS_WITH(pool.begin_step("inner"), Catch::Contains("outer"));
  std::thread([&] {
    REQUIRE_THROWS_WITH(pool.end_step(), Catch::Contains("another thread"));
  }).join();
  pool.end_step();
}

TEST_CASE("an allocation that no machine can serve is an Error") {
  MemoryPool pool;
  REQUIRE_THROWS_WITH(pool.allocate(SIZE_MAX), Catch::Contains("out of memory"));
  REQUIRE_THROWS_WITH(pool.allocate(size_t{1} << 45), Catch::Contains("smaller batch"));
}

TEST_CASE("a second release of a block is an Error") {
  MemoryPool pool;
  void* block = pool.allocate(10);
  pool.release(block);
  REQUIRE_THROWS_WITH(pool.release(block), Catch::Contains("released before"));
}
