#include "deploy/runtime/binary.h"

#include <string.h>

#include <algorithm>
#include <map>
#include <utility>

namespace halftone::runtime {
namespace {

using integer::kLanes;

constexpr int32_t kNothing = 32;  // a shift that leaves nothing of an int32

// Every sum is odd, so that the sign of it is what remains: even weights, odd biases.
bool makes_signs(const Op& op) {
  const bool even = op.weights.shift > 0 && op.low >= -1.0f && op.high <= 1.0f && op.low != 0.0f &&
                    op.high != 0.0f;
  return even && std::all_of(op.channels.begin(), op.channels.end(), [](const OutputChannel& c) {
           return c.bias % 2 != 0 && c.multiplier == 1.0f;
         });
}

// Whether the result has codes 0 and 2 alone, given the same of the values before.
bool is_binary(const Program& program, const Op& op, const std::vector<bool>& binary) {
  const Value& out = program.values[op.output];
  const auto of_input = [&](int32_t v) { return static_cast<bool>(binary[v]); };
  if (out.is_float || out.zero_point != 1) return false;
  switch (op.kind) {
    case OpKind::kTable:
      return std::all_of(op.table.begin(), op.table.end(),
                         [](uint8_t code) { return code == 0 || code == 2; });
    case OpKind::kConvolution:
      return makes_signs(op);
    case OpKind::kMaxPool:
    case OpKind::kConcat:
      return std::all_of(op.inputs.begin(), op.inputs.end(), of_input);
    default:
      return false;
  }
}

bool has_bits(const Op& op) {
  const Weights& w = op.weights;
  return op.groups == 1 && w.bits == 1 && w.low == -1 && w.step == 2;
}

// The part of a window along one axis that lies inside, and a number for each such part.
struct AxisPlaces {
  AxisPlaces(int32_t outputs, int32_t extent, int32_t kernel, int32_t stride, int32_t pad,
             int32_t dilation) {
    std::map<std::pair<int32_t, int32_t>, int64_t> known;
    for (int32_t i = 0; i < outputs; ++i) {
      int32_t first = 0, last = kernel;
      while (first < kernel && i * stride - pad + first * dilation < 0) ++first;
      while (last > first && i * stride - pad + (last - 1) * dilation >= extent) --last;
      const auto added = known.emplace(std::pair(first, last), static_cast<int64_t>(parts.size()));
      if (added.second) parts.emplace_back(first, last);
      place.push_back(added.first->second);
    }
  }
  std::vector<std::pair<int32_t, int32_t>> parts;  // [first, last) of the taps
  std::vector<int64_t> place;                      // by output: of `parts`
};

// A channel's weights as bits, (kh, kw, bytes of a pixel).
void append_bits(const int8_t* weights, int64_t taps, int32_t channels, std::vector<int8_t>& to) {
  for (int64_t t = 0; t < taps; ++t) {
    for (int32_t first = 0; first < channels; first += integer::kBitPair) {
      const int32_t count = std::min(integer::kBitPair, channels - first);
      uint64_t pair = 0;
      for (int32_t c = 0; c < count; ++c) pair |= uint64_t{*weights++ > 0} << c;
      pair ^= pair << 32;
      int8_t bytes[8];
      memcpy(bytes, &pair, 8);
      to.insert(to.end(), bytes, bytes + 8);
    }
  }
}

// sum = start - (differing bits << shift); all modulo 2^32.
struct BitSums {
  const Op& op;
  const ChannelConstants& constants;
  int32_t channels;  // of the input

  uint32_t unit(int64_t o) const { return op.channels[o].constant ? 0 : 1u << op.weights.shift; }

  // With all of a window inside, and then what a tap outside changes: bits 0 have counted as -1,
  // and it means pad_code - 1.
  int32_t start(int64_t o, std::pair<int32_t, int32_t> rows, std::pair<int32_t, int32_t> columns) {
    uint32_t sum = static_cast<uint32_t>(op.channels[o].bias) +
                   unit(o) * static_cast<uint32_t>(constants.length);
    const int8_t* w = constants.weights.data() + o * constants.length;
    for (int32_t i = 0; i < op.window.kernel_h; ++i) {
      for (int32_t j = 0; j < op.window.kernel_w; ++j, w += channels) {
        const bool inside =
            i >= rows.first && i < rows.second && j >= columns.first && j < columns.second;
        for (int32_t c = 0; c < channels && !inside; ++c)
          sum += static_cast<uint32_t>(op.pad_code * w[c]);
      }
    }
    return static_cast<int32_t>(sum);
  }
};

}  // namespace

std::vector<bool> binary_convolutions(const Program& program) {
  std::vector<bool> binary(program.values.size(), false), found;
  for (const Op& op : program.ops) {
    found.push_back(op.kind == OpKind::kConvolution && binary[op.inputs[0]] && has_bits(op));
    binary[op.output] = is_binary(program, op, binary);
  }
  return found;
}

int32_t bit_bytes(int32_t channels) {
  return (channels + integer::kBitPair - 1) / integer::kBitPair * 8;
}

PackedBits pack_bits_layer(const Program& program, const Op& op, const integer::Image& shape,
                           bool joined, bool as_codes) {
  const integer::Image& in = program.values[op.inputs[0]].shape;
  const integer::Window& w = op.window;
  const ChannelConstants codes = constants_of(program, op);
  ChannelConstants bits = codes;
  bits.length = w.taps() * bit_bytes(in.channels);
  bits.weights.clear();
  for (size_t o = 0; o < op.channels.size(); ++o) {
    append_bits(codes.weights.data() + static_cast<int64_t>(o) * codes.length, w.taps(),
                in.channels, bits.weights);
  }
  PackedBits p;
  p.layer = pack_constants(bits, op, joined, as_codes);
  const AxisPlaces ys(shape.height, in.height, w.kernel_h, w.stride_h, w.pad_h, w.dilation_h);
  const AxisPlaces xs(shape.width, in.width, w.kernel_w, w.stride_w, w.pad_w, w.dilation_w);
  const auto lanes = static_cast<int64_t>(p.layer.start.size());
  const auto columns = static_cast<int64_t>(xs.parts.size());
  for (const int64_t y : ys.place) p.row_start.push_back(y * columns * lanes);
  for (const int64_t x : xs.place) p.column_start.push_back(x * lanes);
  p.shift.assign(static_cast<size_t>(lanes), kNothing);
  p.start.assign(ys.parts.size() * xs.parts.size() * static_cast<size_t>(lanes), 0);
  BitSums sums{op, codes, in.channels};
  for (const SlabPlan& slab : p.layer.slabs) {
    for (int32_t at = 0; at < slab.vectors * kLanes; ++at) {
      const int32_t channel = channel_in(slab, at / kLanes, at % kLanes, as_codes);
      if (channel >= slab.channels) continue;
      const int64_t o = slab.first + channel;
      if (!op.channels[o].constant) p.shift[slab.lanes + at] = 1 + op.weights.shift;
      for (size_t i = 0; i < ys.parts.size() * xs.parts.size(); ++i) {
        p.start[i * static_cast<size_t>(lanes) + slab.lanes + at] =
            sums.start(o, ys.parts[i / xs.parts.size()], xs.parts[i % xs.parts.size()]);
      }
    }
  }
  return p;
}

}  // namespace halftone::runtime
