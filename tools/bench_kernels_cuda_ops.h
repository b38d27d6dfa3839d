// What tools/bench_kernels_cuda times.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/integer/quant_math.h"
#include "kernels/quantize_cuda.h"
#include "tensor/cuda.h"

namespace halftone {

// One set of buffers of n 4-byte elements; several sets rotate, so that nothing is in the cache.
struct BenchBuffers {
  explicit BenchBuffers(int64_t n) : numel(n), a(n * 4), b(n * 4), c(n * 4), d(n * 4), e(n * 4) {}
  // Normal values in a and b (integers of a few thousand with int32), zeros in the others: equal
  // data would run faster than real data.
  void fill(cuda::Stream& s, DType dtype) const;
  template <class T>
  T* as(const cuda::Memory& m) const {
    return static_cast<T*>(m.data());
  }
  int64_t numel;
  cuda::Memory a, b, c, d, e;
};

// Per-channel parameters, and what reductions write.
struct BenchParameters {
  explicit BenchParameters(cuda::Stream& s);
  cuda::Memory scale, ones, zero_point, offset, low, high, constants, out, out2;
  kernels::cuda::DeviceGrids grids(int32_t qmin, int32_t qmax) const {
    return {static_cast<const float*>(scale.data()), static_cast<const int32_t*>(zero_point.data()),
            nullptr, qmin, qmax};
  }
};

struct Bench {
  std::string op;
  DType dtype;
  std::string layout;  // "tensor", "nhwc256" (channels innermost), "oihw512" (outermost)
  double bytes;        // per element, at least
  std::function<void(cuda::Stream&, const BenchBuffers&, const BenchParameters&)> run;
};

// The first one is a plain copy.
std::vector<Bench> kernel_benches();
// Of them, those of whole networks' steps.
std::vector<Bench> network_benches();

}  // namespace halftone
