#include "deploy/runtime/program.h"

#include <math.h>
#include <stdlib.h>

#include <algorithm>

namespace halftone::runtime {

const char* name_of(OpKind kind) {
  switch (kind) {
    case OpKind::kTable:
      return "table";
    case OpKind::kConvolution:
      return "convolution";
    case OpKind::kMaxPool:
      return "max pool";
    case OpKind::kAveragePool:
      return "average pool";
    case OpKind::kAdd:
      return "add";
    case OpKind::kConcat:
      return "concat";
    case OpKind::kSubsamplePad:
      return "subsample and pad";
  }
  return "unknown";
}

int64_t weights_per_channel(const Program& program, const Op& op) {
  return op.window.taps() * (program.values.at(op.inputs.at(0)).shape.channels / op.groups);
}

std::vector<int16_t> unpack_weights(const Op& op, int64_t count) {
  const Weights& w = op.weights;
  const int32_t mask = (1 << w.bits) - 1, per_byte = 8 / w.bits;
  const bool zeros = !w.zero_points.empty(), wide = zeros && w.shift == 0;
  const int32_t low = wide ? -255 : -128, high = wide ? 255 : 127;
  const int64_t row = count / std::max<int64_t>(1, static_cast<int64_t>(op.channels.size()));
  std::vector<int16_t> out(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const OutputChannel& channel = op.channels[i / row];
    const int32_t byte = w.packed[i / per_byte];
    const int32_t u = (byte >> (w.bits * (i % per_byte))) & mask;
    const int32_t level = zeros ? u - w.zero_points[i / row] : w.low + w.step * u;
    const int32_t code = level * (1 << w.shift) * (channel.negated ? -1 : 1);
    if (!channel.constant && (code < low || code > high))
      throw ProgramError("a weight does not fit in int8");
    out[i] = static_cast<int16_t>(channel.constant ? 0 : code);
  }
  return out;
}

NarrowWeights narrow_weights(const Op& op, int64_t count) {
  const std::vector<int16_t> weights = unpack_weights(op, count);
  const bool fits =
      std::all_of(weights.begin(), weights.end(), [](int16_t v) { return v >= -128 && v <= 127; });
  NarrowWeights out;
  for (size_t c = 0; c < op.channels.size() && !fits; ++c) {
    const int32_t zero = op.weights.zero_points[c];
    out.offsets.push_back(op.channels[c].negated ? zero - 127 : 128 - zero);
  }
  const int64_t row = count / std::max<int64_t>(1, static_cast<int64_t>(op.channels.size()));
  for (int64_t i = 0; i < count; ++i)
    out.codes.push_back(static_cast<int8_t>(weights[i] - (fits ? 0 : out.offsets[i / row])));
  return out;
}

int64_t accumulator_bound(const Value& input, const OutputChannel& channel, const int16_t* weights,
                          int64_t count) {
  const int64_t largest =
      std::max(abs(input.low - input.zero_point), abs(input.high - input.zero_point));
  int64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += abs(weights[i]);
  return sum * largest + abs(channel.bias);
}

}  // namespace halftone::runtime
