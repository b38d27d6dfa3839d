// Convolutions of stride 1 with 3 x 3 kernels by Winograd's minimal filtering, F(4x4, 3x3) as in
// Lavin and Gray 2015 (arXiv:1509.09308): per 4 x 4 outputs and pair of channels 36 multiplications
// instead of 144.
//
//   Y = A^T [ (G g G^T) . (B^T d B) ] A     d: 6 x 6 inputs, g: 3 x 3 weights, Y: 4 x 4 outputs
//
// The sum over input channels is a matrix product for each of the 36 positions, over a block of
// tiles that stays in the second-level cache. A tile's result does not depend on its block: same
// bits for every thread count, and for an image alone or in a batch.
//
// The polynomials are evaluated at 0, 1, -1, 2, -1/2 and infinity, not at 2 and -2 as in the paper:
// half the error for a few additions. With normal operands, the largest error over the largest
// output is 1.4e-6 with 16 input channels, 2.2e-6 with 64, 5e-6 with 512; one by one, in the order
// of the direct body, 0.4e-6, 1e-6, 2e-6. Integers are not exact: G has thirds.
#pragma once

#include "kernels/conv_bodies.h"

namespace halftone::kernels {

// Outputs and inputs of a tile per axis, and products.
constexpr int64_t kWinogradTile = 4, kWinogradSide = 6, kWinogradPositions = 36;

// Null where the machine lacks the instruction set.
const ConvBodies* winograd_conv_avx512();
const ConvBodies* winograd_conv_avx2();

// Whether the bodies of so many lanes take the shape: 3 x 3, stride 1, whole vectors of channels.
bool winograd_takes(const ConvGeometry& g, int lanes);
inline bool winograd_avx512_takes(const ConvGeometry& g) { return winograd_takes(g, 16); }
inline bool winograd_avx2_takes(const ConvGeometry& g) { return winograd_takes(g, 8); }

// Tiles over so many outputs; the last ones of an axis may be partial.
inline int64_t winograd_tiles(int64_t rows, int64_t columns) {
  return (rows + kWinogradTile - 1) / kWinogradTile *
         ((columns + kWinogradTile - 1) / kWinogradTile);
}

// B^T d B of adjacent tiles of one row of tiles; or of output gradients, 4 x 4 pixels each, what
// stands for G g G^T in the weight gradient, without the factors of G's rows. Written to
// to[position * next_position + vector of channels * next_vector + tile * lanes].
struct WinogradInput {
  const float* rows[kWinogradSide];  // of pixels: (width, channels) each, zeros where outside
  int64_t column;                    // of the first tile's first pixel; negative in the padding
  int64_t width, channels, tiles;
  float* to;
  int64_t next_position, next_vector;
};

// G g G^T for one or two vectors of output channels:
// to[position * next_position + (input * vectors + vector) * lanes].
struct WinogradWeights {
  const float* from;                             // tap (0, 0) of the first output and input
  int64_t row, column, next_output, next_input;  // floats to the next of each
  int64_t inputs;
  float* to;
  int64_t next_position;
};

// sums[vector * next_sums + tile * lanes] = input x weights at one position, for one or two vectors
// of output channels.
struct WinogradProduct {
  const float* input;  // vectors (tiles, lanes), next_vector apart
  int64_t next_vector, vectors;
  const float* weights;
  float* sums;
  int64_t next_sums, tiles;
};

// A^T m A of adjacent tiles, for one or two vectors of output channels.
struct WinogradOutput {
  const float* sums;  // as of WinogradProduct; positions next_position apart
  int64_t next_position, next_vector;
  const float* bias;  // null: none
  float* to;          // the first pixel
  int64_t next_row, next_pixel;
  int64_t rows, pixels, tiles;  // to write: up to 4 rows, and up to 4 pixels per tile
  bool adds;                    // to what is there
};

// sums (inputs, outputs) = or += the products of input and gradient over the tiles of a block, at
// one position.
struct WinogradWeightProduct {
  const float *input, *gradient;  // vectors (tiles, lanes), next_vector apart
  int64_t next_vector;
  int64_t inputs, outputs, tiles;  // channels
  float* sums;
  bool adds;
};

// The inner loops of one instruction set; entry v - 1 of an array is for v vectors of outputs.
struct WinogradKernels {
  int lanes;
  void (*input)(const WinogradInput& job);
  void (*weights[2])(const WinogradWeights& job);
  void (*product[2])(const WinogradProduct& job);
  void (*output[2])(const WinogradOutput& job);
  void (*gradient)(const WinogradInput& job);
  void (*weight_product)(const WinogradWeightProduct& job);
  // taps (9, size) = the last transform of sums (positions, size).
  void (*weight_output)(const float* sums, int64_t size, float* taps);
};

// Any shape that winograd_takes; `dbias` may be null.
void winograd_backward_weight(const WinogradKernels& kernels, const ConvGeometry& g,
                              const Tensor& x, const Tensor& dy, Tensor& dw, Tensor* dbias);

const WinogradKernels& winograd_kernels_avx512();
const WinogradKernels& winograd_kernels_avx2();

}  // namespace halftone::kernels
