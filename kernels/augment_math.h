// The draws of augmentation: the same on the loader's threads and on a device.
#pragma once

#include "kernels/integer/host_device.h"
#include "tensor/random.h"

namespace halftone {

// Of one sample: a pure function of (seed, epoch, sample index), whatever batch or thread the
// sample falls to.
struct SampleDraw {
  int shift_y = 0, shift_x = 0;  // in [-pad, pad]: row y of the result is row y + shift_y
  bool flip = false;
};

// pad: zeros on each side before a crop of the old size; flip: left to right, with probability 1/2.
HALFTONE_HD SampleDraw draw_shift_and_flip(int pad, bool flip, uint64_t seed, uint64_t epoch,
                                           uint64_t sample) {
  constexpr uint64_t kDrawKey = 0x61756720'64726177;  // keeps these draws apart from other users'
  SampleDraw draw;
  if (pad == 0 && !flip) return draw;
  const auto bits = Philox{seed ^ kDrawKey, epoch}(sample);
  const uint64_t places = 2 * static_cast<uint64_t>(pad) + 1;
  draw.shift_y = static_cast<int>(bits[0] * places >> 32) - pad;
  draw.shift_x = static_cast<int>(bits[1] * places >> 32) - pad;
  draw.flip = flip && bits[2] >> 31;
  return draw;
}

}  // namespace halftone
