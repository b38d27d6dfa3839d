// Batches from a data set that lies on a CUDA device: gathered, moved, flipped and normalised in
// one pass, with the loader's random numbers (data/augment.h).
#pragma once

#include "kernels/cuda/stream.h"
#include "kernels/integer/host_device.h"
#include "tensor/random.h"

namespace halftone::kernels::cuda {

struct AugmentArgs {
  int64_t batch = 0, height = 0, width = 0, channels = 0;
  const uint8_t* images = nullptr;   // of the set, (N, H, W, C)
  const int64_t* labels = nullptr;   // of the set
  const int64_t* samples = nullptr;  // batch: which ones; behind them the epoch
  const float* table = nullptr;      // 256 * channels: normalisation_table of data/augment.h
  int pad = 0;
  bool flip = false;
  uint64_t seed = 0;
  float* x = nullptr;  // (batch, H, W, C)
  int64_t* batch_labels = nullptr;
};
void augment(Stream& stream, const AugmentArgs& args);

#define HALFTONE_AUGMENT_KERNELS(K) K(augment, AugmentArgs)

}  // namespace halftone::kernels::cuda
