// The inner loops of fake quantization and of its gradients, one set per instruction set. All give
// the same bits.
#pragma once

#include <cstdint>

namespace halftone::kernels {

constexpr int64_t kQuantLanes = 16;

// Elements [begin, end) of tensors that start at x, dy and out. Constants of a grid: the first ones
// for all elements, or, when `period` is not 0, element i's at i % period; begin is then a multiple
// of it.
struct QuantBlock {
  int64_t begin, end, period;
  const float *x, *dy;  // dy: backward only
  float* out;           // null: gradients of the grid only
  bool stream;          // out is too large for the cache: written past it; 64-byte aligned
  const float *scale, *low, *high;  // low = qmin - z, high = qmax - z; by NNI qmin and qmax
  const float* zero_point;          // by NNI
  const float *below, *above;       // LSQ
  double *ds, *dbeta;  // added to: kQuantLanes sums of lanes i % kQuantLanes, or period
};

struct QuantBodies {
  using Body = void (*)(const QuantBlock&);
  Body fake_quantize, fake_quantize_nni, ste_gradient, ste_gradient_nni;
  Body lsq[2], lsq_plus[2];  // by LsqEdge
};

const QuantBodies& quant_bodies_avx2();
const QuantBodies* quant_bodies_avx512();  // null where the processor has none
const QuantBodies& quant_bodies();         // the best of this processor

// Whether a result of that size is written past the cache.
bool streams(const void* out, int64_t bytes);

}  // namespace halftone::kernels
