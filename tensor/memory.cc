#include "tensor/memory.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <thread>
#include <unordered_map>

#include "tensor/error.h"
#include "tensor/memory_heap.h"
#include "tensor/memory_plan.h"

namespace halftone {

// The memory that replayed steps live in. `live` counts its blocks: one that outlives its step
// (the step departed from its plan) keeps a replaced arena until it is released.
struct Arena {
  explicit Arena(size_t size) : bytes(size), base(static_cast<char*>(system_allocate(size))) {
    if (base == nullptr) {
      throw HALFTONE_ERROR("memory")
          .what_happened("out of memory for an arena of " + std::to_string(size) + " bytes")
          .fix("use a smaller batch or network");
    }
    mark_unusable(base, bytes);
  }
  ~Arena() {
    mark_usable(base, bytes);
    system_free(base);
  }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  const size_t bytes;
  char* const base;
  size_t live = 0;
  bool replaced = false;
};

struct MemoryPool::Impl {
  enum class Mode { kOutside, kRecording, kReplaying, kDeparted };

  ~Impl() {
    if (arena != nullptr && arena->live == 0) delete arena;
  }

  bool owner() const { return mode != Mode::kOutside && std::this_thread::get_id() == thread; }
  void begin(const std::string& step_key);
  void end();
  BlockHeader* allocate(size_t bytes);
  void release(BlockHeader* block);

  BlockHeader* allocate_recorded(size_t bytes);
  BlockHeader* allocate_replayed(size_t bytes);
  void note_release(const BlockHeader& block);
  void release_from_arena(BlockHeader* block);
  void provide_arena(size_t bytes);
  void depart();
  size_t held_bytes() const { return heap.used_bytes() + heap.cached_bytes() + arena_held; }
  void update_peak() { stats.peak_bytes = std::max(stats.peak_bytes, held_bytes()); }

  std::mutex mutex;
  BlockHeap heap;
  Arena* arena = nullptr;
  size_t arena_held = 0;  // replaced ones included
  uint64_t arenas_allocated = 0;
  std::unordered_map<std::string, MemoryPlan> plans;
  MemoryStats stats;

  // The step that runs.
  Mode mode = Mode::kOutside;
  std::thread::id thread;
  std::string key;
  MemoryPlan recording;
  const MemoryPlan* plan = nullptr;
  uint64_t step = 0;
  size_t event = 0;
};

void MemoryPool::Impl::begin(const std::string& step_key) {
  if (mode != Mode::kOutside) {
    throw HALFTONE_ERROR("begin_step")
        .expected("no step under way in this pool")
        .found("step \"" + key + "\"")
        .fix("steps do not nest; end that one first");
  }
  const auto known = plans.find(step_key);
  if (known != plans.end()) provide_arena(known->second.arena_bytes());
  key = step_key;
  plan = known != plans.end() ? &known->second : nullptr;
  recording = MemoryPlan();
  mode = plan != nullptr ? Mode::kReplaying : Mode::kRecording;
  thread = std::this_thread::get_id();
  event = 0;
  ++step;
}

void MemoryPool::Impl::end() {
  if (!owner()) {
    throw HALFTONE_ERROR("end_step")
        .expected("a step that this thread began")
        .found(mode == Mode::kOutside ? "none" : "a step of another thread");
  }
  if (mode == Mode::kReplaying && event != plan->events()) depart();
  if (mode == Mode::kRecording) {
    recording.finish();
    stats.arena_bytes = std::max(stats.arena_bytes, recording.arena_bytes());
    plans[key] = std::move(recording);
    heap.trim();  // what the arena replaces
  } else if (mode == Mode::kDeparted) {
    plans.erase(key);
  }
  plan = nullptr;
  mode = Mode::kOutside;
}

// Called between steps. The arena only grows; one that still holds a block is left to it.
void MemoryPool::Impl::provide_arena(size_t bytes) {
  if (arena != nullptr && arena->bytes >= bytes && arena->live == 0) return;
  if (bytes == 0) return;
  const size_t wanted = std::max(bytes, arena != nullptr ? arena->bytes : 0);
  if (arena != nullptr) {
    arena->replaced = true;
    if (arena->live == 0) {
      arena_held -= arena->bytes;
      delete arena;
    }
    arena = nullptr;
  }
  arena = new Arena(wanted);
  ++arenas_allocated;
  arena_held += wanted;
  update_peak();
}

void MemoryPool::Impl::depart() {
  mode = Mode::kDeparted;
  ++stats.departures;
}

BlockHeader* MemoryPool::Impl::allocate(size_t bytes) {
  if (mode == Mode::kRecording && owner()) return allocate_recorded(bytes);
  if (mode == Mode::kReplaying && owner()) return allocate_replayed(bytes);
  BlockHeader* block = heap.take(bytes);
  update_peak();
  return block;
}

BlockHeader* MemoryPool::Impl::allocate_recorded(size_t bytes) {
  BlockHeader* block = heap.take(bytes);
  update_peak();
  block->step = step;
  block->index = recording.record_allocation(bytes);
  return block;
}

BlockHeader* MemoryPool::Impl::allocate_replayed(size_t bytes) {
  if (!plan->allocates(event, bytes)) {
    depart();
    return allocate(bytes);
  }
  const uint32_t index = plan->block_of(event);
  const PlannedBlock& planned = plan->block(index);
  BlockHeader* block;
  if (planned.placed()) {
    void* memory = arena->base + planned.offset;
    mark_usable(memory, bytes);
    block = new (memory) BlockHeader;
    block->magic = BlockHeader::kMagic;
    block->bytes = bytes;
    block->arena = arena;
    ++arena->live;
    ++stats.replayed;
  } else {
    block = heap.take(bytes);
    update_peak();
  }
  block->step = step;
  block->index = index;
  ++event;
  return block;
}

// Only what the owner of the step both allocates and releases in it belongs to the plan. A block
// that another thread releases counts as outliving the step: no order is promised for it.
void MemoryPool::Impl::note_release(const BlockHeader& block) {
  if (block.step != step || !owner()) return;
  if (mode == Mode::kRecording) {
    recording.record_release(block.index);
  } else if (mode == Mode::kReplaying) {
    if (plan->releases(event, block.index)) {
      ++event;
    } else {
      depart();
    }
  }
}

void MemoryPool::Impl::release(BlockHeader* block) {
  note_release(*block);
  if (block->arena != nullptr) {
    release_from_arena(block);
  } else {
    heap.give(block);
  }
}

void MemoryPool::Impl::release_from_arena(BlockHeader* block) {
  Arena* home = block->arena;
  block->magic = 0;
  mark_unusable(block, block->bytes);
  if (--home->live > 0 || !home->replaced) return;
  arena_held -= home->bytes;
  delete home;
}

MemoryPool::MemoryPool() : impl_(std::make_unique<Impl>()) {}
MemoryPool::~MemoryPool() = default;

void MemoryPool::begin_step(const std::string& key) {
  std::lock_guard<std::mutex> lock(impl_->mutex);
  impl_->begin(key);
}

void MemoryPool::end_step() {
  std::lock_guard<std::mutex> lock(impl_->mutex);
  impl_->end();
}

void* MemoryPool::allocate(size_t bytes) {
  constexpr size_t kTooMany = SIZE_MAX / 2;  // a negative size, most likely; the heap refuses it
  const size_t rounded = (std::min(bytes, kTooMany) + 63) / 64 * 64 + sizeof(BlockHeader);
  std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->allocate(rounded)->payload();
}

void MemoryPool::release(void* block) {
  if (block == nullptr) return;
  BlockHeader* header = static_cast<BlockHeader*>(block) - 1;
  if (header->magic != BlockHeader::kMagic) {
    throw HALFTONE_ERROR("memory")
        .expected("a block of this pool that is in use")
        .found("another address, or a block that was released before")
        .fix("a write past the end of the block below it can also cause this");
  }
  std::lock_guard<std::mutex> lock(impl_->mutex);
  impl_->release(header);
}

MemoryStats MemoryPool::stats() const {
  std::lock_guard<std::mutex> lock(impl_->mutex);
  MemoryStats stats = impl_->stats;
  stats.live_bytes = impl_->heap.used_bytes() + impl_->arena_held;
  stats.cached_bytes = impl_->heap.cached_bytes();
  stats.heap_allocations = impl_->heap.system_allocations() + impl_->arenas_allocated;
  return stats;
}

}  // namespace halftone
