// Products of a row of uint8 codes with rows of int8 weights: the one loop of the integer engine
// that has a body per instruction set. All of them give the same sums.
#pragma once

#include <stdint.h>

#include <vector>

namespace halftone::integer {

// Rows are padded to a multiple of this, weights with zeros.
constexpr int32_t kDotBlock = 64;

// acc[r] = sum_k x[k] w[r * depth + k] modulo 2^32, k < depth, depth a multiple of kDotBlock.
using DotRows = void (*)(const uint8_t* x, const int8_t* w, int32_t depth, int32_t rows,
                         int32_t* acc);

struct Body {
  const char* name;  // "scalar", "avx2", "avx512-vnni"
  DotRows dot_rows;
};

// Those that this processor can run, the portable one first, the fastest last.
const std::vector<Body>& bodies();

}  // namespace halftone::integer
