// The bodies behind integer_conv.h, with the same accumulators from each. They take checked
// geometry, a result that is not empty and a bound of |acc| below kAccumulatorLimit;
// `statistics` may be null. integer_conv.cc chooses among
// them, the test runs each.
#pragma once

#include "kernels/conv_geometry.h"
#include "kernels/epilogue.h"
#include "tensor/codes.h"

namespace halftone::kernels {

struct IntegerBody {
  bool (*takes)(const ConvGeometry& g);
  void (*conv2d)(const ConvGeometry& g, const Codes& x, const Tensor& w, int64_t bound, Tensor& acc,
                 AccumulatorStatistics* statistics);
  void (*linear)(const Codes& x, const Tensor& w, int64_t bound, Tensor& acc,
                 AccumulatorStatistics* statistics);
};

// On integer-valued floats: any shape, any machine.
const IntegerBody& float_integer_body();

// On codes, by AVX-512 VNNI; null where the machine lacks it. Groups of few channels would leave
// most of a vector empty: not taken.
const IntegerBody* vnni_integer_body();

}  // namespace halftone::kernels
