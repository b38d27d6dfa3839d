// Random steps against the pool's promises: live blocks never meet, steady steps allocate nothing.
#include <catch2/catch.hpp>
#include <cstring>
#include <map>

#include "tensor/memory.h"
#include "tensor/memory_plan.h"
#include "tensor/random.h"

using namespace halftone;

namespace {

struct Block {
  unsigned char* data;
  size_t bytes;
  unsigned char mark;
};

// A pool and what is live in it, by address.
class Checked {
 public:
  MemoryPool pool;

  Block allocate(size_t bytes, unsigned char mark) {
    Block block{static_cast<unsigned char*>(pool.allocate(bytes)), bytes, mark};
    const auto next = live_.lower_bound(block.data);
    if (next != live_.end()) REQUIRE(block.data + bytes <= next->first);
    if (next != live_.begin()) {
      const auto previous = std::prev(next);
      REQUIRE(previous->first + previous->second <= block.data);
    }
    live_[block.data] = bytes;
    std::memset(block.data, mark, bytes);
    return block;
  }

  void release(const Block& block) {
    const std::vector<unsigned char> wanted(block.bytes, block.mark);
    REQUIRE(std::memcmp(block.data, wanted.data(), block.bytes) == 0);
    live_.erase(block.data);
    pool.release(block.data);
  }

 private:
  std::map<unsigned char*, size_t> live_;
};

// One pseudo-random step, the same for the same program; `extra` > 0 inserts a departure there.
// Of 40 actions about half allocate; `kept` receives what outlives the step.
void run(Checked& checked, uint64_t program, int extra, std::vector<Block>* kept) {
  const Philox random{program, 0};
  MemoryStep step(checked.pool, "program " + std::to_string(program));
  std::vector<Block> blocks;
  for (int i = 0; i < 40; ++i) {
    if (i == extra) blocks.push_back(checked.allocate(777, 0xee));
    const uint64_t choice = random.below(2 * i, 100);
    const uint64_t size = 1 + random.below(2 * i + 1, 3000);
    if (choice < 55 || blocks.empty()) {
      blocks.push_back(checked.allocate(size, static_cast<unsigned char>(i)));
    } else {
      const size_t victim = size % blocks.size();
      checked.release(blocks[victim]);
      blocks.erase(blocks.begin() + victim);
    }
  }
  while (blocks.size() > 2) {
    checked.release(blocks.back());
    blocks.pop_back();
  }
  kept->insert(kept->end(), blocks.begin(), blocks.end());
}

void release_all(Checked& checked, std::vector<Block>* blocks) {
  for (const Block& block : *blocks) checked.release(block);
  blocks->clear();
}

}  // namespace

TEST_CASE("no two live blocks overlap, whatever steps come in whatever order") {
  Checked checked;
  const Philox random{42, 0};
  std::vector<Block> kept;
  for (uint64_t i = 0; i < 600; ++i) {
    const bool departs = random.below(4 * i, 5) == 0;
    const int extra = departs ? static_cast<int>(random.below(4 * i + 1, 40)) : -1;
    run(checked, random.below(4 * i + 2, 4), extra, &kept);
    if (random.below(4 * i + 3, 3) == 0) release_all(checked, &kept);
  }
  release_all(checked, &kept);
  const MemoryStats stats = checked.pool.stats();
  REQUIRE(stats.departures > 50);
  REQUIRE(stats.replayed > 1000);
  REQUIRE(stats.peak_bytes >= stats.live_bytes + stats.cached_bytes);
}

TEST_CASE("steady random steps reach the system allocator no more") {
  Checked checked;
  std::vector<Block> kept;
  for (int round = 0; round < 20; ++round) {
    const uint64_t before = checked.pool.stats().heap_allocations;
    for (uint64_t program = 0; program < 4; ++program) {
      run(checked, program, -1, &kept);
      release_all(checked, &kept);
    }
    // Round 0 records; in round 1 the arena grows and what outlives a step is allocated again.
    if (round > 1) REQUIRE(checked.pool.stats().heap_allocations == before);
  }
  REQUIRE(checked.pool.stats().departures == 0);
}

TEST_CASE("planned offsets never share bytes at one time and waste little") {
  const Philox random{7, 0};
  std::vector<PlannedBlock> blocks(300);
  for (size_t i = 0; i < blocks.size(); ++i) {
    blocks[i].bytes = 64 * (1 + random.below(3 * i, 1000));
    blocks[i].first = static_cast<uint32_t>(random.below(3 * i + 1, 1000));
    blocks[i].last = blocks[i].first + 1 + static_cast<uint32_t>(random.below(3 * i + 2, 100));
  }
  const size_t total = assign_offsets(&blocks);
  size_t most_live = 0;
  for (uint32_t time = 0; time < 1100; ++time) {
    size_t live = 0;
    std::map<size_t, size_t> spans;
    for (const PlannedBlock& block : blocks) {
      if (block.first > time || block.last <= time) continue;
      live += block.bytes;
      spans[block.offset] = block.bytes;
      REQUIRE(block.offset % 64 == 0);
    }
    size_t end = 0, sum = 0;
    for (const auto& [offset, bytes] : spans) {
      REQUIRE(offset >= end);
      end = offset + bytes;
      sum += bytes;
    }
    REQUIRE(sum == live);  // no two at one offset
    REQUIRE(end <= total);
    most_live = std::max(most_live, live);
  }
  // The largest sum of live blocks is what any plan needs; greedy by size is near it here.
  REQUIRE(total < most_live * 5 / 4);
}
