// Kernel bodies on a device.
#pragma once

#include "kernels/cuda/thread.h"
#include "tensor/cuda.h"

namespace halftone::kernels::cuda {

struct DeviceThread {
  unsigned char* memory;
  __device__ int64_t block() const { return blockIdx.x; }
  __device__ int index() const { return threadIdx.x; }
  __device__ void sync() const { __syncthreads(); }
  template <class T>
  __device__ T* shared() const {
    return reinterpret_cast<T*>(memory);
  }
  __device__ uint32_t add(uint32_t* count, uint32_t n) const { return atomicAdd(count, n); }
  __device__ uint64_t add(uint64_t* count, uint64_t n) const {
    return atomicAdd(reinterpret_cast<unsigned long long*>(count),
                     static_cast<unsigned long long>(n));
  }
  __device__ void fence() const { __threadfence(); }
};

template <class Body>
__global__ void __launch_bounds__(kThreads) run_body(const __grid_constant__ Body body) {
  __shared__ alignas(16) unsigned char memory[Body::kShared > 0 ? Body::kShared : 16];
  body(DeviceThread{memory});
}

class StreamLauncher {
 public:
  explicit StreamLauncher(halftone::cuda::Stream& stream) : stream_(stream) {}

  template <class Body>
  void run(int64_t blocks, const Body& body) {
    check_blocks(blocks);
    if (blocks == 0) return;
    run_body<<<static_cast<unsigned>(blocks), kThreads, 0, stream_.get()>>>(body);
    HALFTONE_CUDA(cudaGetLastError());
  }
  void* scratch(size_t bytes) { return stream_.scratch(bytes); }
  uint32_t* counters(int64_t count) { return stream_.counters(count); }

 private:
  halftone::cuda::Stream& stream_;
};

// The body of a kernel's interface, for the lists of *_cuda.h.
#define HALFTONE_DEFINE_KERNEL(name, Args)      \
  void name(Stream& stream, const Args& args) { \
    StreamLauncher launcher(stream);            \
    launch_##name(launcher, args);              \
  }

}  // namespace halftone::kernels::cuda
