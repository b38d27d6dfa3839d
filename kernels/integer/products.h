// Sums of products of codes: the loops of the integer engine that have a body per instruction set.
// All of them give the same results.
//
// Images are (H, W, C), a border around them where windows leave them, so that a window's codes are
// always there. The codes under one row of a kernel lie together: a run. A pixel's sum is that of
// its runs, four codes (a quad) at a time; a last quad reads up to 3 codes behind its run, which
// meet zero weights. A slab is 1 to 4 vectors of 16 output channels, computed together.
#pragma once

#include <stdint.h>

#include <vector>

#include "kernels/integer/window.h"

namespace halftone::integer {

constexpr int32_t kLanes = 16, kSlabVectors = 4, kQuad = 4;

// Where the pixels of a stack of images lie: elements from one to the next.
struct Steps {
  int64_t image = 0, row = 0, column = 0;
};

// What sums become: clamp(rint(fl(fl(sum) m)) + zero, low, high), or the reals
// clamp(fl(fl(sum) m), low, high). low, high of codes: 0 to 255. `bounded` says that no |fl(sum) m|
// reaches 2^31, which saves work.
struct CodeRange {
  int32_t zero = 0, low = 0, high = 255;
};
struct RealRange {
  float low = 0, high = 0;
};

// The place of channel `lane` of vector v, first to last of a slab. Codes come out of the registers
// in this order; sums and reals are written as v * 16 + lane.
constexpr int32_t channel_of(int32_t vectors, int32_t v, int32_t lane) {
  return lane / 4 * 4 * vectors + 4 * v + lane % 4;
}

// Pixels times one slab.
struct Slab {
  int64_t pixels;
  const uint8_t* x;
  const int64_t* from;           // (pixels): from x to a pixel's first code
  const int64_t* runs;           // (run_count): from a pixel's first code to a run's
  int64_t run_count, run_bytes;  // a multiple of 4
  const int8_t* weights;         // (run_count, run_bytes / 4, vectors, 16, 4)
  const int32_t* start;          // (vectors, 16): what the sums start with
  const float* multiplier;       // (vectors, 16)
  int32_t vectors, channels;     // channels: that are written
  // One of the three: codes and reals of pixel p from to[p] on, sums as (pixels, channels).
  uint8_t* codes;
  float* reals;
  int32_t* sums;
  const int64_t* to;  // (pixels)
  CodeRange code_range;
  bool bounded = false;
  RealRange real_range;
  // Of weights past int8, or null: to the sums of pixel p comes offset * window[p], offset
  // (vectors, 16), window (pixels) the sums of codes.
  const int32_t *window = nullptr, *offset = nullptr;
};

// One-bit codes and weights, -1 and 1 as bits 0 and 1. A pixel's channels are words of 32, padded
// with zeros to pairs; of a pair (a, b) is stored (a, a ^ b), which saves an operation.
constexpr int32_t kBitPair = 64;  // channels

// A slab whose x and weights are bits: run_bytes a multiple of 8, weights (run_count, run_bytes /
// 4, vectors, 16) words. A sum is start - ((bits that differ) << shift), or where the shift is 32,
// start; what it starts with depends on where the pixel lies: start[start_of[p] + lane].
struct BitSlab {
  Slab slab;
  const int32_t* shift;     // (vectors, 16)
  const int64_t* start_of;  // (pixels)
};

// The largest sums of windows, or where flip[i] is -1 and not 0 the smallest, to codes or reals.
// Sums are (height, width, vectors, 16) of one image, `first_row` the first that is there.
struct PooledSlab {
  const int32_t* sums;
  int32_t height, width, first_row;
  Window pool;
  int32_t first, last, out_width;  // rows of the result
  const int32_t* flip;             // (vectors, 16)
  const float* multiplier;
  int32_t vectors, channels;
  uint8_t* codes;  // one of the two; of the result's row 0
  float* reals;
  Steps to;
  CodeRange code_range;
  bool bounded = false;
  RealRange real_range;
};

constexpr int32_t kDepthwiseBlock = 64;  // channels

// A convolution in which every channel has a kernel of its own. Rows `first` to `last` of images *
// height.
struct Depthwise {
  int64_t first, last;
  int32_t height, width, channels;
  const uint8_t* x;
  Steps from, to;  // from.row: stride included; taps are tap_row and tap_column apart
  int32_t kernel_h, kernel_w;
  int64_t tap_row, tap_column;
  // (blocks, kernel_w, quads of kernel rows, 4 vectors, 16, 4); channels as in a slab of 4 vectors
  const int8_t* weights;
  const int32_t* start;     // (blocks, 4, 16)
  const int32_t* offset;    // the same, of weights past int8: added to all of a channel; or null
  const float* multiplier;  // (blocks, 4, 16)
  uint8_t* codes;
  CodeRange code_range;
  bool bounded = false;
};

struct Body {
  const char* name;  // "scalar", "avx2", "avx512-vnni"
  void (*multiply)(const Slab& slab);
  void (*finish_pooled)(const PooledSlab& slab);
  void (*depthwise)(const Depthwise& layer);
  void (*multiply_bits)(const BitSlab& slab);
  // Codes 0 and 2 to bits; `bits` has divide_up(channels, 64) * 8 bytes for each pixel.
  void (*pack_bits)(const uint8_t* codes, int64_t pixels, int32_t channels, uint8_t* bits);
};

// Those that this processor can run, the portable one first, the fastest last.
const std::vector<Body>& bodies();

}  // namespace halftone::integer
