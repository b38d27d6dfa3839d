// The kernels on a GPU, in the shape that the shared cases want.
#pragma once

#include <memory>
#include <vector>

#include "kernels/cuda/all_kernels.h"
#include "tensor/cuda.h"

namespace halftone::test {

class GpuMachine {
 public:
  // A copy of `values` that starts `shift` elements behind a 256-byte boundary.
  template <class T>
  T* put(const std::vector<T>& values, int shift = 0) {
    T* data = room<T>(values.size(), shift);
    if (values.empty()) return data;
    HALFTONE_CUDA(cudaMemcpyAsync(data, values.data(), values.size() * sizeof(T),
                                  cudaMemcpyHostToDevice, stream_.get()));
    stream_.synchronize();
    return data;
  }
  // Exactly as large as needed, so that compute-sanitizer sees a step outside.
  template <class T>
  T* room(size_t count, int shift = 0) {
    blocks_.emplace_back((count + static_cast<size_t>(shift)) * sizeof(T));
    return static_cast<T*>(blocks_.back().data()) + shift;
  }
  template <class T>
  std::vector<T> get(const T* data, size_t count) {
    return halftone::cuda::download<T>(stream_, data, count);
  }
  void clear() {
    stream_.synchronize();
    blocks_.clear();
  }
  halftone::cuda::Stream& stream() { return stream_; }

#define HALFTONE_RUN(name, Args) \
  void run(const kernels::cuda::Args& args) { kernels::cuda::name(stream_, args); }
  HALFTONE_ALL_KERNELS(HALFTONE_RUN)
#undef HALFTONE_RUN

 private:
  halftone::cuda::Stream stream_;
  std::vector<halftone::cuda::Memory> blocks_;
};

}  // namespace halftone::test
