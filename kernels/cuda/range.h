// Reductions to the largest and smallest value.
#pragma once

#include <math.h>

#include "kernels/cuda/ops.h"

namespace halftone::kernels::cuda {

// NaN fits no comparison, so it is counted apart.
struct RangeTotal {
  float low = INFINITY, high = -INFINITY;
  int32_t nan = 0;
  HALFTONE_HD void see(float x) {
    low = x < low ? x : low;
    high = x > high ? x : high;
    nan |= x != x;
  }
  HALFTONE_HD void merge(const RangeTotal& other) {
    low = other.low < low ? other.low : low;
    high = other.high > high ? other.high : high;
    nan |= other.nan;
  }
  HALFTONE_HD void take(const RangeTotal& other) { merge(other); }
  HALFTONE_HD bool finite() const {  // of nothing: not
    return (nan == 0) & (low >= -3.402823466e38f) & (high <= 3.402823466e38f);
  }
};

// Largest magnitude, NaN left out; 0 of nothing.
struct MagnitudeTotal {
  float most = 0.0f;
  HALFTONE_HD void see(float x) {
    const float size = fabsf(x);
    most = size > most ? size : most;
  }
  HALFTONE_HD void merge(const MagnitudeTotal& other) { see(other.most); }
  HALFTONE_HD void take(const MagnitudeTotal& other) { see(other.most); }
};

// Finish: void operator()(int64_t channel, const Sum&).
template <class T, class Sum, class Finish>
struct SeeOp : ReduceOp<T> {
  using Base = ReduceOp<T>;
  using Constants = Nothing;
  using Tile = Sum;
  using Total = Sum;
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  HALFTONE_HD void apply(int j, const typename Base::Input& in, const Nothing&,
                         typename Base::Output&, Sum& sum) const {
    sum.see(to_float(in.x.v[j]));
  }
  HALFTONE_HD void finish(int64_t channel, const Sum& sum) const { last(channel, sum); }

  Finish last;
};

template <class T, class Sum, class Launcher, class Finish>
void reduce_values(Launcher& launcher, const T* x, const ChannelLayout& layout,
                   const Finish& finish) {
  SeeOp<T, Sum, Finish> op{};
  op.x = x;
  op.last = finish;
  pass(launcher, op, layout);
}

}  // namespace halftone::kernels::cuda
