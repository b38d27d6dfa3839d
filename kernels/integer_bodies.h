// The bodies behind integer_conv.h, with the same accumulators from each. They take checked
// geometry, a result that is not empty and a bound of |acc| below kAccumulatorLimit;
// `statistics` may be null. integer_conv.cc chooses among
// them, the test runs each.
#pragma once

#include "kernels/conv_geometry.h"
#include "kernels/epilogue.h"
#include "kernels/integer_conv.h"
#include "tensor/codes.h"

namespace halftone::kernels {

struct IntegerBody {
  bool (*takes)(const ConvGeometry& g);
  void (*conv2d)(const ConvGeometry& g, const Codes& x, const Tensor& w, int64_t bound, Tensor& acc,
                 AccumulatorStatistics* statistics);
  void (*linear)(const Codes& x, const Tensor& w, int64_t bound, Tensor& acc,
                 AccumulatorStatistics* statistics);
};

// The largest bound of |acc| of a row of w; throws where it is not below kAccumulatorLimit.
int64_t checked_bound(const Codes& x, const Tensor& w, const RowOffsets& offsets, const char* op);

// factor * (products with w), w integer-valued float.
struct ExactTerm {
  Tensor w;
  int32_t factor;
};
// Terms that add up to the products with the int8 codes w, with every partial sum below 2^24.
std::vector<ExactTerm> exact_terms(const Tensor& w, int64_t bound, const QuantParams& x);

// On integer-valued floats: any shape, any machine.
const IntegerBody& float_integer_body();

// On codes, by AVX-512 VNNI; null where the machine lacks it. Groups of few channels would leave
// most of a vector empty: not taken.
const IntegerBody* vnni_integer_body();

}  // namespace halftone::kernels
