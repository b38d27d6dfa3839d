#include "tensor/memory.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <thread>
#include <unordered_map>

#include "tensor/device.h"
#include "tensor/error.h"
#include "tensor/memory_heap.h"
#include "tensor/memory_plan.h"

namespace halftone {

// The memory that replayed steps live in. `live` counts its blocks: one that outlives its step
// (the step departed from its plan) keeps a replaced arena until it is released.
struct Arena {
  Arena(size_t size, DeviceRuntime* d)
      : bytes(size),
        device(d),
        base(static_cast<char*>(d != nullptr ? d->allocate(size) : system_allocate(size))) {
    if (base == nullptr && device != nullptr)
      throw out_of_device_memory("an arena", size, device->memory_text());
    if (base == nullptr) {
      throw HALFTONE_ERROR("memory")
          .what_happened("out of memory for an arena of " + std::to_string(size) + " bytes")
          .fix("use a smaller batch or network");
    }
    if (device == nullptr) mark_unusable(base, bytes);
  }
  ~Arena() {
    if (device != nullptr) {
      device->release(base);
    } else {
      mark_usable(base, bytes);
      system_free(base);
    }
  }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // A block at `offset`; of a device, its header is new.
  BlockHeader* place(size_t offset, size_t size) {
    void* memory = base + offset;
    if (device == nullptr) mark_usable(memory, size);
    BlockHeader* block = device != nullptr ? new BlockHeader : new (memory) BlockHeader;
    block->magic = BlockHeader::kMagic;
    block->bytes = size;
    block->arena = this;
    block->memory = device != nullptr ? memory : block + 1;
    ++live;
    return block;
  }
  void take_back(BlockHeader* block) {
    block->magic = 0;
    --live;
    if (device != nullptr) {
      delete block;
    } else {
      mark_unusable(block, block->bytes);
    }
  }

  const size_t bytes;
  DeviceRuntime* const device;
  char* const base;
  size_t live = 0;
  bool replaced = false;
};

struct MemoryPool::Impl {
  enum class Mode { kOutside, kRecording, kReplaying, kDeparted };

  explicit Impl(DeviceRuntime* d) : device(d), heap(d) {}
  ~Impl() {
    if (arena != nullptr && arena->live == 0) delete arena;
  }

  bool owner() const { return mode != Mode::kOutside && std::this_thread::get_id() == thread; }
  void begin(const std::string& step_key);
  void end();
  BlockHeader* allocate(size_t bytes);
  void release(BlockHeader* block);

  BlockHeader* take(size_t bytes);  // from the heap
  BlockHeader* allocate_recorded(size_t bytes);
  BlockHeader* allocate_replayed(size_t bytes);
  void note_release(const BlockHeader& block);
  void release_from_arena(BlockHeader* block);
  void provide_arena(size_t bytes);
  void depart();
  size_t held_bytes() const { return heap.used_bytes() + heap.cached_bytes() + arena_held; }
  void update_peak() { stats.peak_bytes = std::max(stats.peak_bytes, held_bytes()); }

  // The header of what the user has; null where it is no block in use.
  BlockHeader* header_of(void* memory);
  void* hand_out(BlockHeader* block);

  std::mutex mutex;
  DeviceRuntime* const device;
  BlockHeap heap;
  std::unordered_map<void*, BlockHeader*> in_use;  // a device's
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
  try {
    arena = new Arena(wanted, device);
  } catch (const Error&) {
    heap.trim();  // blocks that nobody uses
    arena = new Arena(wanted, device);
  }
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
  BlockHeader* block = take(bytes);
  update_peak();
  return block;
}

BlockHeader* MemoryPool::Impl::take(size_t bytes) {
  ++stats.heap_blocks;
  return heap.take(bytes);
}

BlockHeader* MemoryPool::Impl::allocate_recorded(size_t bytes) {
  BlockHeader* block = take(bytes);
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
    block = arena->place(planned.offset, bytes);
    ++stats.replayed;
  } else {
    block = take(bytes);
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
  home->take_back(block);
  if (home->live > 0 || !home->replaced) return;
  arena_held -= home->bytes;
  delete home;
}

BlockHeader* MemoryPool::Impl::header_of(void* memory) {
  if (device == nullptr) {
    BlockHeader* header = static_cast<BlockHeader*>(memory) - 1;
    return header->magic == BlockHeader::kMagic ? header : nullptr;
  }
  const auto found = in_use.find(memory);
  if (found == in_use.end()) return nullptr;
  BlockHeader* header = found->second;
  in_use.erase(found);
  return header;
}

void* MemoryPool::Impl::hand_out(BlockHeader* block) {
  if (device != nullptr) in_use[block->memory] = block;
  return block->memory;
}

MemoryPool::MemoryPool(DeviceRuntime* device) : impl_(std::make_unique<Impl>(device)) {
  if (device == nullptr) return;
  device->when_full([this] {
    std::lock_guard<std::mutex> lock(impl_->mutex);
    impl_->heap.trim();
  });
}

MemoryPool::~MemoryPool() {
  if (impl_->device != nullptr) impl_->device->when_full(nullptr);
}

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
  // A device's block has no header in it, but never a size of 0: addresses tell blocks apart.
  const size_t rounded = (std::min(bytes, kTooMany) + 63) / 64 * 64 + sizeof(BlockHeader);
  std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->hand_out(impl_->allocate(rounded));
}

void MemoryPool::release(void* block) {
  if (block == nullptr) return;
  std::lock_guard<std::mutex> lock(impl_->mutex);
  BlockHeader* header = impl_->header_of(block);
  if (header == nullptr) {
    throw HALFTONE_ERROR("memory")
        .expected("a block of this pool that is in use")
        .found("another address, or a block that was released before")
        .fix("a write past the end of the block below it can also cause this");
  }
  impl_->release(header);
}

const void* MemoryPool::arena() const {
  std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->arena != nullptr && impl_->arena->live == 0 ? impl_->arena->base : nullptr;
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
