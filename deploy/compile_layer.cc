#include "deploy/compile_layer.h"

#include <algorithm>
#include <cmath>

#include "quant/chain_step.h"

namespace halftone {
namespace {

using runtime::Op;
using runtime::OutputChannel;
using runtime::Value;

integer::Window window_of(const Conv2dOptions& o, const Shape& weight) {
  integer::Window w;
  w.kernel_h = static_cast<int32_t>(weight[1]), w.kernel_w = static_cast<int32_t>(weight[2]);
  w.stride_h = o.stride_h, w.stride_w = o.stride_w;
  w.pad_h = o.pad_h, w.pad_w = o.pad_w;
  w.dilation_h = o.dilation_h, w.dilation_w = o.dilation_w;
  return w;
}

// What lies around the input: its zero, or the layer's own value, whose code padded() finds.
void set_padding(const Conv2d& conv, const QuantParams& x, Op& op) {
  op.pad_code = x.zero_point;
  if (conv.padding_value() == 0.0f || conv.args().padding == 0) return;
  op.window.pad_h = op.window.pad_w = conv.args().padding;
  const Context& context = conv.context();
  Tensor pixel = Tensor::zeros(context, {1, 1, 1, 1}, DType::kUInt8);
  op.pad_code = conv.padded(Variable(Codes{pixel, x})).codes()->values.data<uint8_t>()[0];
}

// (out, C, H, W) columns to (out, H, W, C).
std::vector<int8_t> rows_of(const ChainStep& s, const integer::Image& from, bool linear) {
  const int8_t* codes = s.weight_codes.data<int8_t>();
  std::vector<int8_t> rows(codes, codes + s.weight_codes.numel());
  const int64_t pixels = int64_t{1} * from.height * from.width, channels = from.channels;
  if (!linear || pixels == 1) return rows;
  const int64_t length = pixels * channels;
  for (int64_t i = 0; i < s.weight_codes.numel(); ++i) {
    const int64_t row = i / length, c = i % length / pixels, p = i % pixels;
    rows[row * length + p * channels + c] = codes[i];
  }
  return rows;
}

// The integer that a row's stored code is, before its sign changed.
int32_t level_of(const ChainStep& s, int8_t code, int64_t c) {
  const int32_t integer = (code + s.weight_options.offsets[c]) / (1 << s.weight_options.shift);
  return s.weight_options.negated[c] != 0 ? -integer : integer;
}

// The weights as few levels: code = (low + step u) 2^shift, up to the channel's sign; with zero
// points u is the quantizer's own code, counted from its lowest.
void pack(const ChainStep& s, const std::vector<int8_t>& rows, Op& op) {
  runtime::Weights& w = op.weights;
  const quant_math::Grid grid = s.weight_options.grids.at(0);
  const int64_t length = static_cast<int64_t>(rows.size()) / s.out_channels();
  w.shift = s.weight_options.shift;
  w.low = grid.qmin;
  for (int64_t c = 0; c < s.out_channels() && s.has_zero_points(); ++c)
    w.zero_points.push_back(static_cast<uint8_t>(s.grid_of_row(c).zero_point - grid.qmin));
  std::vector<int32_t> levels;
  bool even = w.zero_points.empty();
  for (size_t i = 0; i < rows.size(); ++i) {
    const int64_t c = static_cast<int64_t>(i) / length;
    const int32_t first = w.zero_points.empty() ? w.low : -w.zero_points[c];
    levels.push_back(op.channels[c].constant ? 0 : level_of(s, rows[i], c) - first);
    even = even && levels.back() % 2 == 0;
  }
  if (!w.zero_points.empty()) w.low = 0;
  w.step = even ? 2 : 1;  // signs, and the odd codes of DoReFa
  const int32_t largest = (grid.qmax - grid.qmin) / w.step;
  for (w.bits = 1; (1 << w.bits) <= largest; w.bits *= 2) {
  }
  w.packed.assign((levels.size() * static_cast<size_t>(w.bits) + 7) / 8, 0);
  for (size_t i = 0; i < levels.size(); ++i) {
    const size_t bit = i * static_cast<size_t>(w.bits);
    w.packed[bit / 8] |= static_cast<uint8_t>(levels[i] / w.step << (bit % 8));
  }
}

void add_channels(const ChainStep& s, Op& op) {
  for (int64_t c = 0; c < s.out_channels(); ++c) {
    OutputChannel channel;
    channel.constant = s.folded[c].constant;
    channel.negated = s.weight_options.negated[c] != 0;
    channel.takes_min = s.acc_scale[c] < 0;
    channel.bias = s.channels[c].bias;
    channel.multiplier = s.channels[c].multiplier;
    op.channels.push_back(channel);
  }
}

// The pooling of accumulators, behind a convolution of this output.
void set_pool(const Chain& chain, const Shape& weight, const integer::Image& from, Op& op) {
  if (chain.pool == nullptr) return;
  Conv2dOptions padded = chain.conv->options();  // a padding value of its own is a step before
  padded.pad_h = op.window.pad_h, padded.pad_w = op.window.pad_w;
  const Shape made = conv2d_shape({1, from.height, from.width, from.channels}, weight, padded);
  const Pool2dOptions& o = chain.pool->options();
  op.pools = true;
  op.pool.kernel_h = o.kernel_h, op.pool.kernel_w = o.kernel_w;
  op.pool.stride_h = o.stride_h, op.pool.stride_w = o.stride_w;
  op.pool.pad_h = o.pad_h, op.pool.pad_w = o.pad_w;
  op.unpooled.height = static_cast<int32_t>(made[1]);
  op.unpooled.width = static_cast<int32_t>(made[2]);
  op.unpooled.channels = static_cast<int32_t>(made[3]);
}

// The range of the result, and what its codes mean.
void set_result(const ChainStep& s, ChainOp& out) {
  out.result.is_float = !s.quantized;
  out.op.low = s.act_low;
  out.op.high = s.act_high;
  if (!s.quantized) return;
  const kernels::CodeRange range = code_range(s);
  out.op.low = range.low;
  out.op.high = range.high;
  out.result.scale = s.y.scale;
  out.result.zero_point = s.y.zero_point;
  out.result.low = s.y.qmin;
  out.result.high = s.y.qmax;
}

}  // namespace

ChainOp compile_chain(const Chain& chain, const Value& from, const QuantParams& grid) {
  const ChainStep s = deployed_step(chain, grid);
  ChainOp out;
  Op& op = out.op;
  op.kind = runtime::OpKind::kConvolution;
  op.name = chain.anchor->path();
  const bool linear = chain.conv == nullptr;
  if (linear) {
    op.window.kernel_h = from.shape.height;
    op.window.kernel_w = from.shape.width;
    op.pad_code = grid.zero_point;
  } else {
    op.window = window_of(chain.conv->options(), s.weight.shape());
    op.groups = chain.conv->options().groups;
    set_padding(*chain.conv, grid, op);
  }
  set_pool(chain, s.weight.shape(), from.shape, op);
  add_channels(s, op);
  pack(s, rows_of(s, from.shape, linear), op);
  set_result(s, out);
  return out;
}

}  // namespace halftone
