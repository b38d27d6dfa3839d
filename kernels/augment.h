// Batches out of a data set that lies where they are wanted.
#pragma once

#include "kernels/augment_math.h"
#include "tensor/tensor.h"

namespace halftone::kernels {

// All on one device. images (N, H, W, C) uint8, labels (N) int64, table (C, 256) float32: what a
// byte stands for.
struct ImageSet {
  Tensor images, labels, table;
};

struct AugmentOptions {
  int pad = 0;
  bool flip = false;
  uint64_t seed = 0;
};

// Row i of x (float32) and y (int64) is sample draws[i] of the set, moved as draw_shift_and_flip
// draws in the epoch that stands behind the samples; what lies outside the image is byte 0.
void gather_batch(const ImageSet& set, const Tensor& draws, const AugmentOptions& options,
                  Tensor& x, Tensor& y);

}  // namespace halftone::kernels
