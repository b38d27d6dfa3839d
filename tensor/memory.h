// Tensor memory: 64-byte aligned blocks, and a plan that later steps replay.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace halftone {

class DeviceRuntime;

struct MemoryStats {
  size_t live_bytes = 0;          // heap blocks in use and the arena
  size_t cached_bytes = 0;        // released heap blocks kept for later
  size_t peak_bytes = 0;          // most that was ever held from the system: live and cached
  size_t arena_bytes = 0;         // of the largest plan so far
  uint64_t heap_allocations = 0;  // calls that reached the system allocator, ever
  uint64_t heap_blocks = 0;       // allocations served from the heap, ever
  uint64_t replayed = 0;          // allocations served from the arena, ever
  uint64_t departures = 0;        // replays that left their record, ever
};

// Step 1 with a key records every allocation and release of the calling thread; a planner then
// fixes offsets (greedy by size, first fit over lifetimes) and later steps with that key replay
// them from one arena. A block that outlives its step is never placed in the arena. The moment a
// replay departs from the record (another size, another order) the rest of that step comes from
// the heap and the next step with that key records anew: correct always, free in steady state.
// Other threads take their blocks from the heap, at any time; a block from before the step may be
// released in it. State that the first step creates and keeps costs one departure, in the second.
class MemoryPool {
 public:
  // Of a device where one is given, else of the CPU. A device's blocks are kept when released, as
  // many as there are; they go back when it has no others to give, to this pool or to
  // DeviceRuntime::allocate_or_throw.
  explicit MemoryPool(DeviceRuntime* device = nullptr);
  ~MemoryPool();

  // Scope of one step. Key: whatever decides the shapes, e.g. "train 64x28x28x1 warm-up".
  void begin_step(const std::string& key);
  void end_step();
  void* allocate(size_t bytes);
  void release(void* block);
  MemoryStats stats() const;
  // Where the blocks of replayed steps lie; it changes when a larger plan needs a larger arena.
  const void* arena() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// begin_step / end_step as a scope.
class MemoryStep {
 public:
  MemoryStep(MemoryPool& pool, const std::string& key) : pool_(pool) { pool_.begin_step(key); }
  ~MemoryStep() { pool_.end_step(); }

 private:
  MemoryPool& pool_;
};

}  // namespace halftone
