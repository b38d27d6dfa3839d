#include "tensor/memory.h"

#include <cstdlib>

namespace halftone {
struct MemoryPool::Impl {};
MemoryPool::MemoryPool() : impl_(std::make_unique<Impl>()) {}
MemoryPool::~MemoryPool() = default;
void MemoryPool::begin_step(const std::string&) {}
void MemoryPool::end_step() {}
void* MemoryPool::allocate(size_t bytes) { return std::aligned_alloc(64, (bytes + 64) / 64 * 64); }
void MemoryPool::release(void* block) { std::free(block); }
MemoryStats MemoryPool::stats() const { return {}; }
}  // namespace halftone
