// The kernels' bodies on the CPU, in the shape that the shared cases want.
#pragma once

#include <cstring>
#include <vector>

#include "kernels/cuda/all_bodies.h"
#include "test/kernels/cuda/host_grid.h"

namespace halftone::test {

class HostMachine {
 public:
  // A copy of `values` that starts `shift` elements behind a 64-byte boundary.
  template <class T>
  T* put(const std::vector<T>& values, int shift = 0) {
    T* data = room<T>(values.size(), shift);
    if (!values.empty()) std::memcpy(data, values.data(), values.size() * sizeof(T));
    return data;
  }
  template <class T>
  T* room(size_t count, int shift = 0) {
    const size_t bytes = ((count + static_cast<size_t>(shift)) * sizeof(T) + 64) / 64 * 64;
    blocks_.emplace_back(static_cast<unsigned char*>(std::aligned_alloc(64, bytes)), std::free);
    std::memset(blocks_.back().get(), 0xA5, bytes);
    return reinterpret_cast<T*>(blocks_.back().get()) + shift;
  }
  template <class T>
  std::vector<T> get(const T* data, size_t count) {
    return std::vector<T>(data, data + count);
  }
  void clear() { blocks_.clear(); }

#define HALFTONE_RUN(name, Args) \
  void run(const kernels::cuda::Args& args) { launch_##name(launcher_, args); }
  HALFTONE_ALL_KERNELS(HALFTONE_RUN)
#undef HALFTONE_RUN

 private:
  HostLauncher launcher_;
  std::vector<std::unique_ptr<unsigned char, decltype(&std::free)>> blocks_;
};

}  // namespace halftone::test
