// Blocks from the system allocator, or a device's, with a free list per size. Not thread-safe: the
// pool locks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace halftone {

struct Arena;
class DeviceRuntime;
class Error;

// The 64 bytes in front of every block; of a device's block they lie in the host's memory.
struct alignas(64) BlockHeader {
  static constexpr uint64_t kMagic = 0x68616c66746f6e65;  // also says: in use
  uint64_t magic = 0;
  size_t bytes = 0;             // header included
  uint64_t step = 0;            // serial number of the step that allocated it, 0 outside
  uint32_t index = 0;           // its number in that step
  Arena* arena = nullptr;       // null: a heap block
  BlockHeader* next = nullptr;  // in a free list
  void* memory = nullptr;       // what the user has: on the CPU, right behind this
};
static_assert(sizeof(BlockHeader) == 64, "payloads keep the alignment of their headers");

// 64-byte aligned; from 4 MiB on 2 MiB aligned and backed by huge pages where the system has them.
// Null when there is no memory.
void* system_allocate(size_t bytes);
void system_free(void* memory);

// Under AddressSanitizer, memory on a free list and in an unused part of the arena is out of
// bounds.
// Not for a device's memory.
void mark_unusable(void* memory, size_t bytes);
void mark_usable(void* memory, size_t bytes);

class BlockHeap {
 public:
  explicit BlockHeap(DeviceRuntime* device) : device_(device) {}
  ~BlockHeap() { trim(); }

  // A block of at least `bytes` (on the CPU, header included). Throws Error when memory is
  // exhausted.
  BlockHeader* take(size_t bytes);
  void give(BlockHeader* block);
  void trim();  // hands the free lists back to the system

  size_t used_bytes() const { return used_bytes_; }
  size_t cached_bytes() const { return cached_bytes_; }
  uint64_t system_allocations() const { return system_allocations_; }

 private:
  static constexpr size_t kMaxCachedBytes = size_t{256} << 20;  // of the CPU

  BlockHeader* make_block(size_t bytes);  // null where there is no memory
  void destroy(BlockHeader* block);
  bool keeps(const BlockHeader& block) const;
  Error out_of_memory(size_t bytes) const;

  DeviceRuntime* device_;
  std::array<BlockHeader*, 64 * 8> free_{};  // by size class: eight per power of two
  size_t used_bytes_ = 0, cached_bytes_ = 0;
  uint64_t system_allocations_ = 0;
};

}  // namespace halftone
