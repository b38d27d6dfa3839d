#include "deploy/report.h"

#include <fmt/format.h>

#include <algorithm>

namespace halftone {
namespace {

using runtime::Op;
using runtime::OpKind;
using runtime::OutputChannel;
using runtime::Program;
using runtime::Value;

// Signed integers of so many bits hold -n .. n.
int signed_bits(int64_t n) {
  int bits = 1;
  for (; n > 0; n >>= 1) ++bits;
  return bits;
}

// The ends of what the accumulators of a channel can be.
std::pair<int64_t, int64_t> ends(const Value& in, const int16_t* weights, int64_t count) {
  const int64_t low = in.low - in.zero_point, high = in.high - in.zero_point;
  std::pair<int64_t, int64_t> range{0, 0};
  for (int64_t i = 0; i < count; ++i) {
    range.first += std::min(low * weights[i], high * weights[i]);
    range.second += std::max(low * weights[i], high * weights[i]);
  }
  return range;
}

void count_constant(const Op& op, const OutputChannel& c, std::pair<int64_t, int64_t> range,
                    LayerReport& r) {
  const quant_math::Channel channel{c.constant ? 0 : -1, c.bias, c.multiplier};
  const auto code = [&](int64_t acc) {
    return quant_math::epilogue(static_cast<int32_t>(acc), channel, op.low, op.high, 0);
  };
  const int32_t first = code(range.first);
  if (first != code(range.second)) return;
  ++(first == static_cast<int32_t>(op.low) ? r.dead : r.saturated);
}

void add_weights(const Program& program, const Op& op, LayerReport& r) {
  const Value &in = program.values[op.inputs[0]], &out = program.values[op.output];
  const int64_t row = runtime::weights_per_channel(program, op);
  r.weights = row * out.shape.channels;
  r.weight_bits = op.weights.bits;
  const std::vector<int16_t> codes = runtime::unpack_weights(op, r.weights);
  int64_t bound = 0;
  for (size_t c = 0; c < op.channels.size(); ++c) {
    const int16_t* weights = codes.data() + static_cast<int64_t>(c) * row;
    bound = std::max(bound, runtime::accumulator_bound(in, op.channels[c], weights, row));
    if (!out.is_float) count_constant(op, op.channels[c], ends(in, weights, row), r);
  }
  r.accumulator_bits = signed_bits(bound);
}

}  // namespace

ProgramReport report_program(const Program& program, const std::string& file, int64_t file_bytes,
                             int64_t fp32_bytes) {
  ProgramReport report{program.network, file, {}, file_bytes, fp32_bytes};
  for (const Op& op : program.ops) {
    const integer::Image& s = program.values[op.output].shape;
    LayerReport& r = report.layers.emplace_back();
    r.layer = op.name;
    r.operation = runtime::name_of(op.kind);
    if (op.pools) r.operation += " + max pool";
    r.shape = fmt::format("{} x {} x {}", s.channels, s.height, s.width);
    if (op.kind == OpKind::kConvolution) add_weights(program, op, r);
  }
  return report;
}

nlohmann::ordered_json to_json(const ProgramReport& r) {
  nlohmann::ordered_json j = {{"network", r.network},
                              {"file", r.file},
                              {"file_bytes", r.file_bytes},
                              {"fp32_bytes", r.fp32_bytes},
                              {"layers", nlohmann::ordered_json::array()}};
  for (const LayerReport& l : r.layers) {
    nlohmann::ordered_json layer = {
        {"layer", l.layer}, {"operation", l.operation}, {"shape", l.shape}};
    if (l.weights > 0) {
      layer["weights"] = l.weights;
      layer["weight_bits"] = l.weight_bits;
      layer["accumulator_bits"] = l.accumulator_bits;
      layer["dead_channels"] = l.dead;
      layer["saturated_channels"] = l.saturated;
    }
    j["layers"].push_back(layer);
  }
  return j;
}

std::string to_table(const ProgramReport& r) {
  std::string t =
      fmt::format("{:<32} {:<22} {:>14} {:>9} {:>5} {:>12} {:>5} {:>10}\n{:-<116}\n", "layer",
                  "operation", "result", "weights", "bits", "accumulator", "dead", "saturated", "");
  for (const LayerReport& l : r.layers) {
    t += fmt::format("{:<32} {:<22} {:>14}", l.layer, l.operation, l.shape);
    if (l.weights > 0) {
      t += fmt::format(" {:>9} {:>5} {:>7} bits {:>5} {:>10}", l.weights, l.weight_bits,
                       l.accumulator_bits, l.dead, l.saturated);
    }
    t += "\n";
  }
  return t + fmt::format("{:-<116}\n{}: {:.1f} kB, in float {:.1f} kB: 1/{:.1f}\n", "", r.file,
                         static_cast<double>(r.file_bytes) / 1000,
                         static_cast<double>(r.fp32_bytes) / 1000,
                         static_cast<double>(r.fp32_bytes) / static_cast<double>(r.file_bytes));
}

}  // namespace halftone
