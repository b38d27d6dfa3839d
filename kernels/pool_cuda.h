// Pooling on a CUDA device (pool.h). (N, H, W, C), float32.
#pragma once

#include "kernels/cuda/stream.h"
#include "kernels/pool.h"

namespace halftone::kernels::cuda {

// x (n, h, w, c), y (n, oh, ow, c). `options` is not read by adaptive pooling.
struct PoolGeometry {
  int64_t n = 0, h = 0, w = 0, c = 0, oh = 0, ow = 0;
  Pool2dOptions options;
};

struct MaxPoolArgs {
  PoolGeometry g;
  const float* x = nullptr;
  float* y = nullptr;
  uint8_t* taps = nullptr;  // may be null
};
void max_pool2d(Stream& stream, const MaxPoolArgs& args);

struct MaxPoolBackwardArgs {
  PoolGeometry g;
  const float* dy = nullptr;
  const float* y = nullptr;  // read only where the options have an activation
  const uint8_t* taps = nullptr;
  float* dx = nullptr;
};
void max_pool2d_backward(Stream& stream, const MaxPoolBackwardArgs& args);

struct AvgPoolArgs {
  PoolGeometry g;
  bool adaptive = false;
  const float* x = nullptr;
  float* y = nullptr;
};
void avg_pool2d(Stream& stream, const AvgPoolArgs& args);

struct AvgPoolBackwardArgs {
  PoolGeometry g;
  bool adaptive = false;
  const float* dy = nullptr;
  float* dx = nullptr;
};
void avg_pool2d_backward(Stream& stream, const AvgPoolBackwardArgs& args);

#define HALFTONE_POOL_KERNELS(K)              \
  K(max_pool2d, MaxPoolArgs)                  \
  K(max_pool2d_backward, MaxPoolBackwardArgs) \
  K(avg_pool2d, AvgPoolArgs)                  \
  K(avg_pool2d_backward, AvgPoolBackwardArgs)

}  // namespace halftone::kernels::cuda
