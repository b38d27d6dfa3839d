// The op of augment_cuda.h, for any launcher.
#pragma once

#include "kernels/augment_cuda.h"
#include "kernels/augment_math.h"
#include "kernels/cuda/elementwise.h"

namespace halftone::kernels::cuda {

struct AugmentItem {
  AugmentArgs a;
  HALFTONE_HD void operator()(int64_t i) const {
    const Spot to = spot(i, a.height, a.width, a.channels);
    const int64_t sample = a.samples[to.n];
    const auto epoch = static_cast<uint64_t>(a.samples[a.batch]);
    const SampleDraw draw =
        draw_shift_and_flip(a.pad, a.flip, a.seed, epoch, static_cast<uint64_t>(sample));
    const int64_t y = to.h + draw.shift_y;
    const int64_t x = (draw.flip ? a.width - 1 - to.w : to.w) + draw.shift_x;
    const bool inside = y >= 0 && y < a.height && x >= 0 && x < a.width;
    const int64_t from = ((sample * a.height + y) * a.width + x) * a.channels + to.c;
    a.x[i] = a.table[256 * to.c + (inside ? a.images[from] : 0)];
    if (to.h == 0 && to.w == 0 && to.c == 0) a.batch_labels[to.n] = a.labels[sample];
  }
};

template <class Launcher>
void launch_augment(Launcher& launcher, const AugmentArgs& a) {
  each(launcher, a.batch * a.height * a.width * a.channels, AugmentItem{a});
}

}  // namespace halftone::kernels::cuda
