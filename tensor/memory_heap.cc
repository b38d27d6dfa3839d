#include "tensor/memory_heap.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <string>

#include "tensor/device.h"
#include "tensor/error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace halftone {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kHugeFrom = size_t{4} << 20;
constexpr size_t kMaxBlock = size_t{1} << 39;  // larger is a mistake, not a wish

struct SizeClass {
  size_t index;
  size_t bytes;
};

// Sizes in (2^k, 2^(k+1)] are rounded up to eighths of 2^k: at most 12.5 % is lost.
SizeClass size_class(size_t bytes) {
  bytes = std::max<size_t>(bytes, 2 * sizeof(BlockHeader));
  const size_t k = 63 - static_cast<size_t>(__builtin_clzll(bytes - 1));
  const size_t granule = std::max<size_t>(64, (size_t{1} << k) / 8);
  const size_t eighth = (bytes - (size_t{1} << k) + granule - 1) / granule;
  return {k * 8 + eighth - 1, (size_t{1} << k) + eighth * granule};
}

}  // namespace

void* system_allocate(size_t bytes) {
  const bool huge = bytes >= kHugeFrom;
  void* memory = nullptr;
  if (::posix_memalign(&memory, huge ? kHugePage : 64, bytes) != 0) return nullptr;
  // Advice: where it fails, small pages serve.
  if (huge) ::madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
  return memory;
}

void system_free(void* memory) { std::free(memory); }

#if defined(__SANITIZE_ADDRESS__)
void mark_unusable(void* memory, size_t bytes) { ASAN_POISON_MEMORY_REGION(memory, bytes); }
void mark_usable(void* memory, size_t bytes) { ASAN_UNPOISON_MEMORY_REGION(memory, bytes); }
#else
void mark_unusable(void*, size_t) {}
void mark_usable(void*, size_t) {}
#endif

BlockHeader* BlockHeap::make_block(size_t bytes) {
  void* memory = device_ != nullptr ? device_->allocate(bytes) : system_allocate(bytes);
  if (memory == nullptr) return nullptr;
  if (device_ == nullptr) return new (memory) BlockHeader;
  auto* block = new BlockHeader;
  block->memory = memory;
  return block;
}

void BlockHeap::destroy(BlockHeader* block) {
  if (device_ == nullptr) return system_free(block);
  device_->release(block->memory);
  delete block;
}

bool BlockHeap::keeps(const BlockHeader& block) const {
  return device_ != nullptr || cached_bytes_ + block.bytes <= kMaxCachedBytes;
}

BlockHeader* BlockHeap::take(size_t bytes) {
  const SizeClass size = size_class(std::min(bytes, kMaxBlock));
  BlockHeader* block = free_[size.index];
  if (block != nullptr) {
    free_[size.index] = block->next;
    cached_bytes_ -= size.bytes;
    if (device_ == nullptr) mark_usable(block->memory, size.bytes - sizeof(BlockHeader));
  } else {
    block = bytes < kMaxBlock ? make_block(size.bytes) : nullptr;
    if (block == nullptr && bytes < kMaxBlock && cached_bytes_ > 0) {
      trim();
      block = make_block(size.bytes);
    }
    if (block == nullptr) throw out_of_memory(bytes);
    ++system_allocations_;
  }
  void* memory = device_ != nullptr ? block->memory : block + 1;
  *block = BlockHeader{};
  block->magic = BlockHeader::kMagic;
  block->bytes = size.bytes;
  block->memory = memory;
  used_bytes_ += size.bytes;
  return block;
}

Error BlockHeap::out_of_memory(size_t bytes) const {
  const std::string used = std::to_string(used_bytes_) + " bytes in use";
  if (device_ != nullptr)
    return out_of_device_memory("a block", bytes, used + ", " + device_->memory_text());
  return HALFTONE_ERROR("memory")
      .what_happened("out of memory for a block of " + std::to_string(bytes) + " bytes")
      .found(used)
      .fix("use a smaller batch or network");
}

void BlockHeap::give(BlockHeader* block) {
  used_bytes_ -= block->bytes;
  block->magic = 0;
  if (!keeps(*block)) return destroy(block);
  const SizeClass size = size_class(block->bytes);
  block->next = free_[size.index];
  free_[size.index] = block;
  cached_bytes_ += block->bytes;
  if (device_ == nullptr) mark_unusable(block->memory, block->bytes - sizeof(BlockHeader));
}

void BlockHeap::trim() {
  for (BlockHeader*& head : free_) {
    while (head != nullptr) {
      BlockHeader* block = head;
      head = block->next;
      if (device_ == nullptr) mark_usable(block->memory, block->bytes - sizeof(BlockHeader));
      destroy(block);
    }
  }
  cached_bytes_ = 0;
}

}  // namespace halftone
