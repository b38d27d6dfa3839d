// Sums of products of codes by AVX-512 VNNI: four products of uint8 and int8 go into an int32 at
// once, without saturation.
//
// In NHWC the kw * c codes under one row of the kernel lie together: a run. A pixel's sum is that
// of its runs, in groups of four bytes (quads); a last quad reads codes of whatever follows, times
// zero weights. A slab is up to 4 vectors of 16 output channels, computed together.
#pragma once

#include <cstdint>

namespace halftone::kernels {

constexpr int64_t kVnniLanes = 16, kVnniVectors = 4;

// Pixels times one slab.
struct VnniSlab {
  const uint8_t* x;        // pixel p's first code is x[offsets[p]]
  const int64_t* offsets;  // (pixels)
  int64_t pixels;
  const int64_t* runs;           // (run_count): from a pixel's first code to a run's
  int64_t run_count, run_bytes;  // 4 * quads
  const int32_t* weights;        // (run_count, quads, vectors, 16 channels), four int8 in each
  const int32_t* start;          // (vectors * 16): what the sums start with
  int vectors;
  int64_t channels;  // that the slab has, at most vectors * 16
  int32_t* acc;      // pixel p's are at acc + p * acc_step
  int64_t acc_step;
};
void vnni_multiply(const VnniSlab& slab);

}  // namespace halftone::kernels
