// The inner loops of fake quantization and of its gradients, one set per instruction set. All give
// the same bits.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

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

// Reductions of elements as in QuantBlock; results are added to (or widened), kQuantLanes or period
// of each.
struct ReduceBlock {
  int64_t begin, end, period;
  const float* x;
  bool stream;                                 // x is too large for the cache
  float *low, *high, *nan;                     // ranges; nan becomes NaN where x was
  double *sum, *sum_magnitudes, *sum_squares;  // moments
};

struct QuantBodies {
  using Body = void (*)(const QuantBlock&);
  Body fake_quantize, fake_quantize_nni, ste_gradient, ste_gradient_nni;
  Body lsq[2], lsq_plus[2];                            // by LsqEdge
  Body sign, sign_gradient[2];                         // by SignGradient
  Body dorefa_activation, dorefa_activation_gradient;  // scale: 2^bits - 1
  void (*range)(const ReduceBlock&);
  void (*moments)(const ReduceBlock&);
  void (*tanh)(const float* w, int64_t count, float* t);  // dorefa_tanh
};

const QuantBodies& quant_bodies_avx2();
const QuantBodies* quant_bodies_avx512();  // null where the processor has none
const QuantBodies& quant_bodies();         // the best of this processor

// Whether a result of that size is written past the cache, and an operand fetched ahead.
bool streams(const void* data, int64_t bytes);

// One body over tensors without grids; dy and scale may be null.
void run_elementwise(const Context& context, QuantBodies::Body body, const Tensor* dy,
                     const Tensor& x, const float* scale, Tensor& out);

}  // namespace halftone::kernels
