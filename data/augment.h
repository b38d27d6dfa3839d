// What happens to a sample between the set and the batch.
#pragma once

#include <functional>
#include <vector>

#include "data/dataset.h"
#include "kernels/augment_math.h"
#include "tensor/random.h"

namespace halftone {

struct Augmentation {
  int pad = 0;        // zero bytes on each side, then a crop of the original size at random
  bool flip = false;  // left to right, with probability 1/2
  // Called, from worker threads, on a copy of the sample's bytes (H, W, C) before all else; the
  // stream belongs to (seed, epoch, sample). Empty: nothing.
  std::function<void(const Philox& stream, int64_t sample, uint8_t* pixels)> edit;

  bool random() const { return pad > 0 || flip || edit; }
};

// Draws of one sample (kernels/augment_math.h).
SampleDraw draw_sample(const Augmentation& augmentation, uint64_t seed, int64_t epoch,
                       int64_t sample);

// What a byte stands for: table[256 * c + v] = (v / 255 - mean[c]) / stddev[c], rounded in float32
// after each operation as torchvision's ToTensor and Normalize do. Also the input table of a
// quantized network that is fed bytes.
std::vector<float> normalisation_table(const Dataset& dataset);

// One sample (H, W, C) moved as drawn; where the draw looks outside, the byte is 0.
struct SampleShape {
  int64_t height, width, channels;
};
void move_bytes(const uint8_t* in, const SampleShape& shape, const SampleDraw& draw, uint8_t* out);
// The same, each byte looked up in a normalisation table.
void move_normalised(const uint8_t* in, const SampleShape& shape, const SampleDraw& draw,
                     const float* table, float* out);

}  // namespace halftone
