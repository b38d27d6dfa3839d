// Vectors that begin at a cache line: a load of a whole vector that crosses one costs two. Inside
// this folder.
#pragma once

#include <stddef.h>

#include <new>
#include <vector>

namespace halftone::runtime {

template <class T>
struct LineAllocator {
  static constexpr std::align_val_t kLine{64};
  using value_type = T;
  LineAllocator() = default;
  template <class U>
  LineAllocator(const LineAllocator<U>&) {}  // NOLINT: as the standard's allocators convert
  T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), kLine)); }
  void deallocate(T* block, size_t) { ::operator delete(block, kLine); }
  bool operator==(const LineAllocator&) const { return true; }
  bool operator!=(const LineAllocator&) const { return false; }
};

template <class T>
using Aligned = std::vector<T, LineAllocator<T>>;

}  // namespace halftone::runtime
