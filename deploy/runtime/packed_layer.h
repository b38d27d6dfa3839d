// The constants of a convolution as products.h wants them.
#pragma once

#include <stdint.h>

#include <vector>

#include "deploy/runtime/aligned.h"
#include "deploy/runtime/program.h"
#include "kernels/integer/products.h"

namespace halftone::runtime {

// By output channel.
struct ChannelConstants {
  std::vector<int8_t> weights;   // (O, kh, kw, C / groups)
  std::vector<int32_t> offsets;  // of the weights (narrow_weights), or none
  int64_t length = 0;            // weights of a channel
  std::vector<int32_t> start;    // b_q - z sum (w + offset), modulo 2^32
  std::vector<float> multiplier;
  std::vector<int32_t> flip;  // -1 where the smallest of pooled sums counts
  bool bounded = true;        // no sum times its multiplier reaches 2^31
};
ChannelConstants constants_of(const Program& program, const Op& op);

// A slab of one group.
struct SlabPlan {
  int32_t group, first, channels, vectors;  // first: of all output channels
  int64_t weights;                          // where its weights begin
  int64_t lanes;                            // where its other constants begin
};

struct PackedLayer {
  int64_t run_count = 0, run = 0, quads = 0;  // run: codes
  std::vector<SlabPlan> slabs;
  Aligned<int8_t> weights;
  Aligned<int32_t> start, flip;
  Aligned<float> multiplier;
  bool bounded = true;
  // Of weights past int8, else empty: what the sum of a window's codes is multiplied with, by lane,
  // and, but for depthwise layers, the slab of one channel whose sums those are.
  Aligned<int32_t> offset;
  Aligned<int8_t> ones;
};
// `joined`: the taps of a kernel row are one run. `as_codes`: lanes in the order of codes.
PackedLayer pack_layer(const Program& program, const Op& op, bool joined, bool as_codes);
// The same of constants that are there.
PackedLayer pack_constants(const ChannelConstants& constants, const Op& op, bool joined,
                           bool as_codes);
// The channel, less the slab's first, in a lane.
int32_t channel_in(const SlabPlan& slab, int32_t v, int32_t lane, bool as_codes);

// Depthwise: one slab, whose constants have the order of a slab of 4 vectors.
PackedLayer pack_depthwise(const Program& program, const Op& op);

}  // namespace halftone::runtime
