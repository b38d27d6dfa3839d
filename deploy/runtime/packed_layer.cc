#include "deploy/runtime/packed_layer.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace halftone::runtime {
namespace {

using integer::kLanes;
using integer::kQuad;

int64_t divide_up(int64_t n, int64_t step) { return (n + step - 1) / step; }

void add_slabs(int32_t group, int32_t group_channels, PackedLayer& p) {
  int64_t weights = 0, lanes = 0;
  if (!p.slabs.empty()) {
    const SlabPlan& last = p.slabs.back();
    lanes = last.lanes + last.vectors * kLanes;
    weights = lanes * p.run_count * p.quads * kQuad;
  }
  for (int32_t done = 0; done < group_channels;) {  // slabs of nearly one size
    const int64_t left = divide_up(group_channels - done, kLanes);
    const auto vectors =
        static_cast<int32_t>(divide_up(left, divide_up(left, integer::kSlabVectors)));
    const int32_t channels = std::min(vectors * kLanes, group_channels - done);
    p.slabs.push_back({group, group * group_channels + done, channels, vectors, weights, lanes});
    done += channels, lanes += vectors * kLanes;
    weights += vectors * kLanes * p.run_count * p.quads * kQuad;
  }
}

// One channel's weights to its lane: `to` is the lane's first quad, quads are `step` bytes apart.
void pack_channel(const PackedLayer& p, const int8_t* weights, int64_t step, int8_t* to) {
  for (int64_t r = 0; r < p.run_count; ++r, weights += p.run) {
    for (int64_t k = 0; k < p.run; ++k)
      to[(r * p.quads + k / kQuad) * step + k % kQuad] = weights[k];
  }
}

void pack_slab(const ChannelConstants& c, const SlabPlan& slab, bool as_codes, PackedLayer& p) {
  for (int32_t v = 0; v < slab.vectors; ++v) {
    for (int32_t lane = 0; lane < kLanes; ++lane) {
      const int32_t channel = channel_in(slab, v, lane, as_codes);
      if (channel >= slab.channels) continue;
      const int64_t o = slab.first + channel, at = v * kLanes + lane;
      pack_channel(p, c.weights.data() + o * c.length, slab.vectors * kLanes * kQuad,
                   p.weights.data() + slab.weights + at * kQuad);
      p.start[slab.lanes + at] = c.start[o];
      p.flip[slab.lanes + at] = c.flip[o];
      p.multiplier[slab.lanes + at] = c.multiplier[o];
      if (!c.offsets.empty()) p.offset[slab.lanes + at] = c.offsets[o];
    }
  }
}

}  // namespace

int32_t channel_in(const SlabPlan& slab, int32_t v, int32_t lane, bool as_codes) {
  return as_codes ? integer::channel_of(slab.vectors, v, lane) : v * kLanes + lane;
}

ChannelConstants constants_of(const Program& program, const Op& op) {
  ChannelConstants c;
  c.length = weights_per_channel(program, op);
  NarrowWeights narrow = narrow_weights(op, c.length * static_cast<int64_t>(op.channels.size()));
  c.weights = std::move(narrow.codes);
  c.offsets = std::move(narrow.offsets);
  const auto zero = static_cast<uint32_t>(program.values[op.inputs[0]].zero_point);
  const int8_t* w = c.weights.data();
  for (size_t o = 0; o < op.channels.size(); ++o) {
    const OutputChannel& channel = op.channels[o];
    const int32_t offset = c.offsets.empty() ? 0 : c.offsets[o];
    uint32_t sum = 0;
    int64_t largest = std::abs(int64_t{channel.bias});
    for (int64_t k = 0; k < c.length; ++k) {
      const int32_t code = *w++ + offset;
      sum += static_cast<uint32_t>(code), largest += 255 * std::abs(code);
    }
    c.bounded &= static_cast<float>(largest) * std::abs(channel.multiplier) < 0x1p30f;
    c.start.push_back(static_cast<int32_t>(static_cast<uint32_t>(channel.bias) - zero * sum));
    c.multiplier.push_back(channel.multiplier);
    c.flip.push_back(channel.takes_min ? -1 : 0);
  }
  return c;
}

PackedLayer pack_layer(const Program& program, const Op& op, bool joined, bool as_codes) {
  return pack_constants(constants_of(program, op), op, joined, as_codes);
}

PackedLayer pack_constants(const ChannelConstants& c, const Op& op, bool joined, bool as_codes) {
  const int32_t group_channels = static_cast<int32_t>(op.channels.size()) / op.groups;
  PackedLayer p;
  p.bounded = c.bounded;
  p.run_count = joined ? op.window.kernel_h : op.window.taps();
  p.run = c.length / p.run_count;
  p.quads = divide_up(p.run, kQuad);
  for (int32_t g = 0; g < op.groups; ++g) add_slabs(g, group_channels, p);
  const auto lanes = static_cast<size_t>(p.slabs.back().lanes + p.slabs.back().vectors * kLanes);
  p.weights.assign(lanes * static_cast<size_t>(p.run_count * p.quads * kQuad), 0);
  p.start.assign(lanes, 0), p.flip.assign(lanes, 0), p.multiplier.assign(lanes, 0);
  if (!c.offsets.empty()) {
    p.offset.assign(lanes, 0);
    p.ones.assign(static_cast<size_t>(p.run_count * p.quads * kQuad * kLanes), 0);
    const std::vector<int8_t> ones(static_cast<size_t>(c.length), 1);
    pack_channel(p, ones.data(), kLanes * kQuad, p.ones.data());
  }
  for (const SlabPlan& slab : p.slabs) pack_slab(c, slab, as_codes, p);
  return p;
}

PackedLayer pack_depthwise(const Program& program, const Op& op) {
  const ChannelConstants c = constants_of(program, op);
  const integer::Window& w = op.window;
  const auto channels = static_cast<int32_t>(op.channels.size());
  const int64_t block = integer::kDepthwiseBlock, quads = divide_up(w.kernel_h, kQuad);
  const auto lanes = static_cast<size_t>(divide_up(channels, block) * block);
  PackedLayer p;
  p.bounded = c.bounded;
  p.weights.assign(lanes * static_cast<size_t>(w.kernel_w * quads * kQuad), 0);
  p.start.assign(lanes, 0), p.multiplier.assign(lanes, 0);
  if (!c.offsets.empty()) p.offset.assign(lanes, 0);
  for (int64_t at = 0; at < static_cast<int64_t>(lanes); ++at) {
    const auto v = static_cast<int32_t>(at % block / kLanes),
               lane = static_cast<int32_t>(at % kLanes);
    const int64_t first = at / block * block;
    const int64_t o = first + integer::channel_of(integer::kSlabVectors, v, lane);
    if (o >= channels) continue;
    p.start[at] = c.start[o], p.multiplier[at] = c.multiplier[o];
    if (!c.offsets.empty()) p.offset[at] = c.offsets[o];
    int8_t* to = p.weights.data() + first * w.kernel_w * quads * kQuad + at % block * kQuad;
    for (int64_t k = 0; k < c.length; ++k) {
      const int64_t i = k / w.kernel_w, j = k % w.kernel_w;
      to[(j * quads + i / kQuad) * block * kQuad + i % kQuad] = c.weights[o * c.length + k];
    }
  }
  return p;
}

}  // namespace halftone::runtime
