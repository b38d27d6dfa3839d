// Which convolutions multiply bits, and their constants.
#pragma once

#include <vector>

#include "deploy/runtime/packed_layer.h"
#include "deploy/runtime/program.h"

namespace halftone::runtime {

// By operation: convolutions without groups whose weights are of one bit, -1 and 1, and whose input
// has codes 0 and 2 alone, with zero point 1: it is the sign of something.
std::vector<bool> binary_convolutions(const Program& program);

// Bytes of a pixel as bits.
int32_t bit_bytes(int32_t channels);

// Bits of a layer, and what the sums start with: start[row_start[y] + column_start[x] + lane], for
// the rows and columns of the convolution's own output.
struct PackedBits {
  PackedLayer layer;
  Aligned<int32_t> shift, start;
  std::vector<int64_t> row_start, column_start;
};
// `shape`: the convolution's own output. The padding is stored as bits 0, -1.
PackedBits pack_bits_layer(const Program& program, const Op& op, const integer::Image& shape,
                           bool joined, bool as_codes);

}  // namespace halftone::runtime
