// Reductions to the largest and smallest value.
#pragma once

#include <math.h>

#include "kernels/cuda/ops.h"

namespace halftone::kernels::cuda {

// Smallest and largest; `taint` is zero as long as everything was finite.
struct RangeTotal {
  float low = INFINITY, high = -INFINITY, taint = 0.0f;
  HALFTONE_HD void see(float x) {
    low = fminf(low, x);
    high = fmaxf(high, x);
    taint += x * 0.0f;
  }
  HALFTONE_HD void merge(const RangeTotal& other) {
    low = fminf(low, other.low);
    high = fmaxf(high, other.high);
    taint += other.taint;
  }
  HALFTONE_HD bool finite() const { return (taint == 0.0f) & (low <= high); }  // of nothing: not
};

// Largest magnitude, NaN left out; 0 of nothing.
struct MagnitudeTotal {
  float most = 0.0f;
  HALFTONE_HD void see(float x) { most = fmaxf(most, fabsf(x)); }
  HALFTONE_HD void merge(const MagnitudeTotal& other) { see(other.most); }
};

// Finish: void operator()(int64_t channel, const Sum&).
template <class T, class Sum, class Finish, int kPack = kRowWidth<T>>
struct SeeOp : ReduceOp<T, kPack> {
  using Base = ReduceOp<T, kPack>;
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
  pass<SeeOp<T, Sum, Finish>, SeeOp<T, Sum, Finish, kColumnWidth<T>>>(launcher, layout,
                                                                      [&](auto& op) {
                                                                        op.x = x;
                                                                        op.last = finish;
                                                                      });
}

}  // namespace halftone::kernels::cuda
