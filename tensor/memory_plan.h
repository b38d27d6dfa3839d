// One step's allocations and releases, and where each block goes when the step is replayed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace halftone {

struct PlannedBlock {
  static constexpr uint32_t kAlive = UINT32_MAX;
  size_t bytes = 0;
  uint32_t first = 0;      // event that allocates it
  uint32_t last = kAlive;  // event that releases it; kAlive: it outlives the step
  size_t offset = 0;       // in the arena, when placed
  bool placed() const { return last != kAlive; }
};

// Fixes the offset of every placed block (multiples of 64 when the sizes are): largest first, each
// at the lowest offset that is free during its whole life. Returns the bytes that all of them need.
size_t assign_offsets(std::vector<PlannedBlock>* blocks);

class MemoryPlan {
 public:
  // Recording. Blocks are numbered in the order of their allocation.
  uint32_t record_allocation(size_t bytes);
  void record_release(uint32_t block);
  void finish() { arena_bytes_ = assign_offsets(&blocks_); }

  // Replaying: event number `event` is the allocation of `bytes` / the release of `block`.
  bool allocates(size_t event, size_t bytes) const {
    return event < events_.size() && events_[event].allocates &&
           blocks_[events_[event].block].bytes == bytes;
  }
  bool releases(size_t event, uint32_t block) const {
    return event < events_.size() && !events_[event].allocates && events_[event].block == block;
  }
  uint32_t block_of(size_t event) const { return events_[event].block; }
  const PlannedBlock& block(uint32_t index) const { return blocks_[index]; }
  size_t events() const { return events_.size(); }
  size_t arena_bytes() const { return arena_bytes_; }

 private:
  struct Event {
    bool allocates;
    uint32_t block;
  };
  std::vector<Event> events_;
  std::vector<PlannedBlock> blocks_;
  size_t arena_bytes_ = 0;
};

}  // namespace halftone
