// What every oneDNN body shares: engine and stream of a Context, its thread count, its errors.
#pragma once

#include <omp.h>

#include <dnnl.hpp>

#include "kernels/kernel_cache.h"
#include "tensor/tensor.h"

namespace halftone::kernels {

// One per Context, through KernelCache.
struct OneDnnRuntime {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};

  static OneDnnRuntime& of(const Context& context) {
    return KernelCache::get<OneDnnRuntime>(context);
  }
};

// While alive, oneDNN's OpenMP regions have the context's threads. A primitive is bound to the
// count under which it was built, so both building and running stand in such a scope.
class OneDnnThreads {
 public:
  explicit OneDnnThreads(const Context& context) : previous_(omp_get_max_threads()) {
    if (previous_ != context.threads()) omp_set_num_threads(context.threads());
  }
  ~OneDnnThreads() { omp_set_num_threads(previous_); }
  OneDnnThreads(const OneDnnThreads&) = delete;
  OneDnnThreads& operator=(const OneDnnThreads&) = delete;

 private:
  int previous_;
};

// A memory object whose data pointer is set at each call. oneDNN never writes through a source
// handle, so the const of sources is dropped here and nowhere else.
inline void point(dnnl::memory& memory, const void* data) {
  memory.set_data_handle(const_cast<void*>(data));
}

inline dnnl::memory unbound(const dnnl::memory::desc& desc, const dnnl::engine& engine) {
  return dnnl::memory(desc, engine, DNNL_MEMORY_NONE);
}

// Planned scratch of `bytes`; undefined when 0.
inline Tensor scratch(const Context& context, size_t bytes) {
  return bytes == 0 ? Tensor()
                    : Tensor::empty(context, {static_cast<int64_t>(bytes)}, DType::kUInt8);
}

}  // namespace halftone::kernels
