#include "tools/bench_layers.h"

namespace halftone::tools {
namespace {

using namespace runtime;

Value codes(const std::string& name, int32_t side, int32_t channels) {
  Value v;
  v.name = name;
  v.shape.height = v.shape.width = side, v.shape.channels = channels;
  return v;
}

void add_signs(const BenchLayer& layer, Program& p) {
  p.network = layer.name;
  p.values = {codes("image", layer.side, layer.channels),
              codes("signs", layer.side, layer.channels)};
  p.values[1].zero_point = 1, p.values[1].high = 2;
  Op op;
  op.kind = OpKind::kTable;
  op.name = "signs", op.inputs = {0}, op.output = 1;
  for (int code = 0; code < 256; ++code) op.table.push_back(code < 128 ? 0 : 2);
  p.ops.push_back(op);
}

// The largest of each channel, so that the program's result, which becomes reals, is small.
void add_largest(int32_t side, Program& p) {
  const auto last = static_cast<int32_t>(p.values.size()) - 1;
  p.values.push_back(p.values.back());
  p.values.back().name = "largest";
  p.values.back().shape.height = p.values.back().shape.width = 1;
  Op op;
  op.kind = OpKind::kMaxPool;
  op.name = "largest", op.inputs = {last}, op.output = last + 1;
  op.window.kernel_h = op.window.kernel_w = op.window.stride_h = op.window.stride_w = side;
  p.ops.push_back(op);
}

}  // namespace

const std::vector<BenchLayer>& bench_layers() {
  static const std::vector<BenchLayer> all = {
      {"conv 128-128, 32 x 32", 32, 128, 128, 3}, {"conv 128-256, 16 x 16", 16, 128, 256, 3},
      {"conv 256-256, 16 x 16", 16, 256, 256, 3}, {"conv 256-512, 8 x 8", 8, 256, 512, 3},
      {"conv 512-512, 8 x 8", 8, 512, 512, 3},    {"linear 8192-1024", 1, 8192, 1024, 1}};
  return all;
}

runtime::Program signs_program(const BenchLayer& layer) {
  Program p;
  add_signs(layer, p);
  add_largest(layer.side, p);
  return p;
}

runtime::Program layer_program(const BenchLayer& layer, int bits) {
  Program p;
  add_signs(layer, p);
  p.values.push_back(codes("layer", layer.side, layer.outputs));
  p.values[2].zero_point = 1, p.values[2].high = 2;
  Op op;
  op.kind = OpKind::kConvolution;
  op.name = "layer", op.inputs = {1}, op.output = 2;
  op.window.kernel_h = op.window.kernel_w = layer.kernel;
  op.window.pad_h = op.window.pad_w = layer.kernel / 2;
  op.pad_code = 1;
  op.low = -1, op.high = 1;
  op.channels.assign(static_cast<size_t>(layer.outputs), {false, false, false, 1, 1.0f});
  op.weights.bits = bits, op.weights.low = -1, op.weights.step = 2, op.weights.shift = 1;
  if (bits == 8) op.weights.low = -64, op.weights.step = 1, op.weights.shift = 0;
  const int64_t weights = op.window.taps() * layer.channels * layer.outputs;
  const auto mask = static_cast<uint32_t>(bits == 8 ? 127 : 255);
  for (int64_t i = 0; i < weights * bits / 8; ++i)
    op.weights.packed.push_back(
        static_cast<uint8_t>(static_cast<uint32_t>(i) * 2654435761u >> 20 & mask));
  p.ops.push_back(op);
  add_largest(layer.side, p);
  return p;
}

}  // namespace halftone::tools
