// The inner loops of the passes over accumulators, one set per instruction set. All give the same
// bits.
#pragma once

#include <cstdint>

#include "kernels/integer/lsq_math.h"

namespace halftone::kernels {

// Elements [begin, end) of (rows, channels) accumulators, in tiles of `width` columns: element i
// has the constants of column (i - begin) % width.
struct EpilogueBlock {
  int64_t begin, end, width;
  const int32_t *acc, *keep, *bias;
  const float* multiplier;
};

struct EpilogueOutput {
  float low, high;
  int32_t zero_point;
  uint8_t* codes;
  float* values;  // for epilogue_to_float
};

// Exact sums by column, added to (or widened). `floats`: the accumulators are floats that hold
// integers, and become int32 where they lie.
struct StatisticsBlock {
  int64_t begin, end, width;
  int32_t* acc;
  bool floats;
  int64_t *sum, *squares;
  int32_t *low, *high;
};

// Sums of a backward, by column, added to; scale and offset, to whose two totals every element
// adds, in double, and null where nothing is learned.
struct EpilogueSums {
  const float *dy, *centre;
  quant_math::Pass pass;
  float act_low, act_high;
  quant_math::LsqRule learned;
  float *sum, *centred;
  double *scale, *offset;
};

struct EpilogueGradient {
  const float *dy, *centre, *a, *b, *d;
  quant_math::Pass pass;
  float* out;
};

struct EpilogueBodies {
  void (*statistics)(const StatisticsBlock&);
  void (*to_codes)(const EpilogueBlock&, const EpilogueOutput&);
  void (*to_float)(const EpilogueBlock&, const EpilogueOutput&);
  void (*backward_sums)(const EpilogueBlock&, const EpilogueSums&);
  void (*backward_apply)(const EpilogueBlock&, const EpilogueGradient&);
};

const EpilogueBodies& epilogue_bodies_avx2();
const EpilogueBodies* epilogue_bodies_avx512();  // null where the processor has none

}  // namespace halftone::kernels
