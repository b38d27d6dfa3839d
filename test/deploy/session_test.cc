// Sessions on programs with every operation, in shapes that fit no register, against the oracle:
// every body, thread count and batch gives the same codes.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <set>

#include "deploy/oracle.h"
#include "deploy/runtime/binary.h"
#include "deploy/runtime/session.h"
#include "test/deploy/numbers.h"

using namespace halftone;
using namespace halftone::runtime;
using halftone::test::Numbers;

namespace {

struct ConvolutionSpec {
  int32_t channels = 8, kernel = 3, stride = 1, pad = 1, dilation = 1, groups = 1, pad_code = -1;
  int32_t pool = 0, pool_stride = 0, pool_pad = 0;
  int32_t bits = 8;
  bool is_float = false, sign = false;  // sign: the result's, as codes 0 and 2
  bool zero_points = false;             // of the weights, one per channel
};

int32_t convolved(int32_t n, int32_t kernel, int32_t stride, int32_t pad, int32_t dilation = 1) {
  return (n + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
}

// Appends operations with random constants; each returns the value that it makes.
class Builder {
 public:
  Builder(int32_t height, int32_t width, int32_t channels) {
    p.network = "test";
    Value image;
    image.name = "image";
    image.shape.height = height, image.shape.width = width, image.shape.channels = channels;
    p.values.push_back(image);
  }

  int32_t table(int32_t in, bool per_channel) {
    Op op = start(OpKind::kTable, {in});
    const int32_t count = per_channel ? shape(in).channels : 1;
    for (int32_t i = 0; i < 256 * count; ++i)
      op.table.push_back(static_cast<uint8_t>(numbers.below(256)));
    return finish(op, shape(in));
  }

  int32_t convolution(int32_t in, const ConvolutionSpec& s) {
    Op op = start(OpKind::kConvolution, {in});
    op.window = window(s.kernel, s.stride, s.pad);
    op.window.dilation_h = op.window.dilation_w = s.dilation;
    op.groups = s.groups;
    op.pad_code = s.pad_code >= 0 ? s.pad_code : p.values[in].zero_point;
    integer::Image to = shape(in);
    to.height = convolved(to.height, s.kernel, s.stride, s.pad, s.dilation);
    to.width = convolved(to.width, s.kernel, s.stride, s.pad, s.dilation);
    to.channels = s.channels;
    if (s.pool > 0) {
      op.pools = true, op.unpooled = to, op.pool = window(s.pool, s.pool_stride, s.pool_pad);
      to.height = convolved(to.height, s.pool, s.pool_stride, s.pool_pad);
      to.width = convolved(to.width, s.pool, s.pool_stride, s.pool_pad);
    }
    add_constants(s, shape(in).channels, op);
    return finish(op, to, s.is_float, s.sign);
  }

  // Codes 0 and 2, at random.
  int32_t signs(int32_t in) {
    Op op = start(OpKind::kTable, {in});
    for (int32_t i = 0; i < 256; ++i)
      op.table.push_back(static_cast<uint8_t>(2 * numbers.below(2)));
    return finish(op, shape(in), false, true);
  }

  // Over the whole input.
  int32_t linear(int32_t in, int32_t channels, bool is_float, int32_t bits = 8,
                 bool zero_points = false) {
    ConvolutionSpec s;
    s.zero_points = zero_points;
    s.channels = channels, s.pad = 0, s.is_float = is_float;
    Op op = start(OpKind::kConvolution, {in});
    op.window.kernel_h = shape(in).height, op.window.kernel_w = shape(in).width;
    s.bits = bits;
    add_constants(s, shape(in).channels, op);
    integer::Image to;
    to.channels = channels;
    return finish(op, to, is_float);
  }

  int32_t max_pool(int32_t in, int32_t kernel, int32_t stride, int32_t pad) {
    Op op = start(OpKind::kMaxPool, {in});
    op.window = window(kernel, stride, pad);
    integer::Image to = shape(in);
    to.height = convolved(to.height, kernel, stride, pad);
    to.width = convolved(to.width, kernel, stride, pad);
    return finish(op, to, false, p.values[in].zero_point == 1);
  }

  int32_t average(int32_t in) {
    Op op = start(OpKind::kAveragePool, {in});
    op.channels.assign(1, {});
    op.channels[0].multiplier = 1.0f / static_cast<float>(shape(in).height * shape(in).width);
    integer::Image to;
    to.channels = shape(in).channels;
    return finish(op, to);
  }

  int32_t add(int32_t a, int32_t b) { return finish(start(OpKind::kAdd, {a, b}), shape(a)); }

  int32_t concat(const std::vector<int32_t>& in) {
    integer::Image to = shape(in[0]);
    to.channels = 0;
    for (const int32_t v : in) to.channels += shape(v).channels;
    return finish(start(OpKind::kConcat, in), to, false, p.values[in[0]].zero_point == 1);
  }

  int32_t subsample(int32_t in, int32_t before, int32_t behind) {
    Op op = start(OpKind::kSubsamplePad, {in});
    op.window.stride_h = 2, op.pad_before = before;
    integer::Image to = shape(in);
    to.height = (to.height + 1) / 2, to.width = (to.width + 1) / 2;
    to.channels += before + behind;
    return finish(op, to);
  }

  Program p;
  Numbers numbers{3};

 private:
  static constexpr int32_t kZero = 100;
  const integer::Image& shape(int32_t v) const { return p.values.at(v).shape; }
  static integer::Window window(int32_t kernel, int32_t stride, int32_t pad) {
    integer::Window w;
    w.kernel_h = w.kernel_w = kernel, w.stride_h = w.stride_w = stride, w.pad_h = w.pad_w = pad;
    return w;
  }
  Op start(OpKind kind, const std::vector<int32_t>& in) {
    Op op;
    op.kind = kind, op.name = name_of(kind), op.inputs = in;
    op.low = -90, op.high = 140;
    return op;
  }
  int32_t finish(Op op, const integer::Image& to, bool is_float = false, bool sign = false) {
    Value v;
    v.name = op.name, v.shape = to, v.is_float = is_float, v.zero_point = sign ? 1 : kZero;
    if (sign) op.low = -1, op.high = 1, v.high = 2;
    v.scale = p.values.size() > 1 ? p.values[1].scale : 0.5f;
    op.output = static_cast<int32_t>(p.values.size());
    if (is_float) op.low = -1e6f, op.high = 1e6f;
    p.values.push_back(v);
    p.ops.push_back(op);
    return op.output;
  }

  // The ends of the codes among them.
  void add_zero_points(const ConvolutionSpec& s, Weights& w) {
    w.low = 0, w.step = 1, w.shift = s.bits < 8 ? 7 - s.bits : 0;
    const int32_t last = (1 << s.bits) - 1;
    for (int32_t c = 0; c < s.channels; ++c) {
      const int32_t zeros[] = {0, last, numbers.below(last), numbers.below(last)};
      w.zero_points.push_back(static_cast<uint8_t>(zeros[c % 4]));
    }
  }

  void add_constants(const ConvolutionSpec& s, int32_t in_channels, Op& op) {
    const int64_t length = op.window.taps() * (in_channels / s.groups);
    op.weights.bits = s.bits;
    op.weights.low = s.bits == 8 ? -127 : -(1 << (s.bits - 1));
    if (s.bits == 1) op.weights.low = -1, op.weights.step = 2, op.weights.shift = 1;
    op.weights.packed.resize(static_cast<size_t>((length * s.channels * s.bits + 7) / 8));
    for (uint8_t& b : op.weights.packed)
      b = static_cast<uint8_t>(numbers.below(s.bits == 8 ? 255 : 256));
    if (s.zero_points) add_zero_points(s, op.weights);
    for (int32_t c = 0; c < s.channels; ++c) {
      OutputChannel channel;
      channel.constant = numbers.below(9) == 0;
      channel.negated = numbers.below(3) == 0;
      channel.takes_min = s.pool > 0 && numbers.below(3) == 0;
      channel.bias = numbers.below(2000) - 1000;
      channel.multiplier =
          3.0f / (std::sqrt(static_cast<float>(length)) * static_cast<float>(1 << s.bits));
      if (s.sign) channel.bias |= 1, channel.multiplier = 1.0f;
      op.channels.push_back(channel);
    }
  }
};

void check(const Program& program, int64_t images) {
  check_program(program);
  const auto shared = std::make_shared<const Program>(program);
  const int64_t size = program.input().shape.size(), out = program.result().shape.size();
  Numbers numbers{3};
  std::vector<uint8_t> bytes(static_cast<size_t>(images * size));
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(numbers.below(256));
  std::vector<std::vector<uint8_t>> want(program.values.size());
  std::vector<float> reals;
  const Oracle oracle(program);
  for (int64_t i = 0; i < images; ++i) {
    CodeTensors codes(program.values.size());
    std::vector<float> result;
    codes[0].assign(bytes.begin() + i * size, bytes.begin() + (i + 1) * size);
    oracle.run(codes, result);
    for (size_t v = 1; v < codes.size(); ++v)
      want[v].insert(want[v].end(), codes[v].begin(), codes[v].end());
    reals.insert(reals.end(), result.begin(), result.end());
  }
  for (size_t v = 1; v < want.size(); ++v) {  // nothing is only bounds
    INFO("value " << v);
    const std::set<uint8_t> distinct(want[v].begin(), want[v].end());
    REQUIRE((program.values[v].is_float ||
             distinct.size() > (program.values[v].zero_point == 1 ? 1 : 4)));
  }
  for (const integer::Body& body : integer::bodies()) {
    for (const int threads : {1, 2, 3}) {
      for (const bool keeps : {true, false}) {
        Session session(shared, {body, threads, keeps});
        for (const int64_t count : {images, int64_t{1}}) {
          INFO(body.name << ", " << threads << " threads, " << count << " images");
          std::vector<float> results(static_cast<size_t>(count * out));
          session.run(bytes.data(), count, results.data());
          REQUIRE(std::equal(results.begin(), results.end(), reals.begin()));
          for (int32_t v = 1; keeps && v < static_cast<int32_t>(want.size()); ++v) {
            if (program.values[v].is_float) continue;
            INFO("value " << v << ", " << program.values[v].name);
            const auto codes = static_cast<size_t>(count * program.values[v].shape.size());
            REQUIRE(std::equal(session.codes(v), session.codes(v) + codes, want[v].begin()));
          }
        }
      }
    }
  }
}

}  // namespace

TEST_CASE("convolutions of many shapes") {
  Builder b(9, 7, 3);
  int32_t v = b.table(0, true);
  v = b.convolution(v, {21, 3, 1, 1});
  v = b.convolution(v, {35, 3, 2, 1, 1, 7});  // groups, stride
  v = b.convolution(v, {64, 1, 1, 0});
  v = b.convolution(v, {70, 3, 1, 2, 2, 1, 7});  // dilation, padding with another code
  v = b.convolution(v, {70, 3, 1, 1, 1, 70});    // depthwise
  v = b.convolution(v, {70, 5, 2, 2, 1, 70});
  v = b.convolution(v, {70, 2, 1, 1, 1, 70, 3});
  v = b.convolution(v, {140, 3, 1, 1, 1, 70});  // two channels for each
  v = b.convolution(v, {48, 3, 1, 1, 1, 1, -1, 0, 0, 0, 4});
  v = b.convolution(v, {17, 3, 1, 1, 1, 1, -1, 0, 0, 0, 2});
  v = b.convolution(v, {130, 1, 1, 0, 1, 1, -1, 0, 0, 0, 1});
  b.linear(v, 10, true);
  check(b.p, 7);
}

TEST_CASE("pooling of sums, in windows apart and in windows that overlap") {
  for (const ConvolutionSpec& s : {ConvolutionSpec{40, 3, 1, 1, 1, 1, -1, 2, 2, 0},
                                   ConvolutionSpec{40, 3, 1, 1, 1, 1, -1, 3, 2, 1},
                                   ConvolutionSpec{24, 3, 1, 0, 1, 3, -1, 2, 3, 0}}) {
    Builder b(12, 10, 3);
    const int32_t v = b.convolution(b.convolution(b.table(0, false), s), {6, 3});
    b.linear(v, 20, true);
    check(b.p, 5);
  }
  Builder b(6, 6, 4);
  ConvolutionSpec last{10, 3, 1, 1, 1, 1, -1, 6, 6, 0};
  last.is_float = true;
  b.convolution(b.table(0, true), last);
  check(b.p, 3);
}

TEST_CASE("weights with zero points: shapes, groups, pooling, few bits, any result") {
  const auto with = [](ConvolutionSpec s) {
    s.zero_points = true;
    return s;
  };
  Builder b(9, 7, 3);
  int32_t v = b.table(0, true);
  v = b.convolution(v, with({21, 3, 1, 1}));
  v = b.convolution(v, with({35, 3, 2, 1, 1, 7}));  // groups, stride
  v = b.convolution(v, with({64, 1, 1, 0}));
  v = b.convolution(v, with({70, 3, 1, 2, 2, 1, 7}));  // dilation, padding with another code
  v = b.convolution(v, with({70, 3, 1, 1, 1, 70}));    // depthwise
  v = b.convolution(v, with({140, 3, 1, 1, 1, 70}));   // two channels for each
  v = b.convolution(v, with({48, 3, 1, 1, 1, 1, -1, 0, 0, 0, 4}));
  v = b.convolution(v, with({17, 3, 1, 1, 1, 1, -1, 0, 0, 0, 2}));
  v = b.linear(v, 130, false, 8, true);
  b.linear(v, 10, true, 8, true);
  check(b.p, 7);
  for (const ConvolutionSpec& s : {ConvolutionSpec{40, 3, 1, 1, 1, 1, -1, 2, 2, 0},
                                   ConvolutionSpec{40, 3, 1, 1, 1, 1, -1, 3, 2, 1},
                                   ConvolutionSpec{24, 3, 1, 0, 1, 3, -1, 2, 3, 0}}) {
    Builder pools(12, 10, 3);
    pools.linear(pools.convolution(pools.table(0, false), with(s)), 20, true);
    check(pools.p, 5);
  }
  ConvolutionSpec last{10, 3, 1, 1, 1, 1, -1, 6, 6, 0};
  last.is_float = true;
  Builder floats(6, 6, 4);
  floats.convolution(floats.table(0, true), with(last));
  check(floats.p, 3);
  // More pixels than are computed at a time, in images of several rows.
  Builder large(33, 31, 2);
  large.convolution(large.convolution(large.table(0, false), with({12, 3, 1, 1})), with({5, 3}));
  check(large.p, 2);
}

// The layers that run on bits, by operation.
std::vector<int> bit_layers(const Program& program) {
  std::vector<int> layers;
  const std::vector<bool> bits = binary_convolutions(program);
  for (size_t i = 0; i < bits.size(); ++i) {
    if (bits[i]) layers.push_back(static_cast<int>(i));
  }
  return layers;
}

TEST_CASE("layers of bits: widths, paddings of -1, 0 and 1, strides, pooling, any result") {
  for (const int pad_code : {0, 1, 2}) {
    for (const int32_t channels : {3, 32, 70, 128}) {
      Builder b(9, 7, 3);
      ConvolutionSpec first{channels, 3, 1, 1};
      first.bits = 1, first.sign = true;  // of bytes, and so not on bits
      ConvolutionSpec sign = first;
      sign.pad_code = pad_code;
      ConvolutionSpec wide = sign, last = sign;
      wide.kernel = 5, wide.pad = 3, wide.stride = 2, wide.dilation = 1, wide.channels = 37;
      wide.pool = 2, wide.pool_stride = 2;
      last.sign = false, last.dilation = 2, last.pad = 2;
      int32_t v = b.convolution(b.table(0, false), first);
      v = b.convolution(v, sign);
      v = b.max_pool(v, 3, 1, 1);
      const int32_t w = b.convolution(v, wide);
      const int32_t twice = b.concat({w, w});
      b.linear(b.convolution(twice, last), 30, false);
      b.linear(w, 21, true, 1);
      INFO(channels << " channels, padding with code " << pad_code);
      REQUIRE(bit_layers(b.p) == std::vector<int>{2, 4, 6, 8});
      check(b.p, 5);
    }
  }
}

TEST_CASE("what is no sign does not run on bits") {
  const auto layers = [](const std::function<void(Program&)>& change) {
    Builder b(4, 4, 2);
    ConvolutionSpec s{8, 3, 1, 1};
    s.bits = 1, s.sign = true;
    b.convolution(b.convolution(b.signs(0), s), s);
    change(b.p);
    return bit_layers(b.p);
  };
  REQUIRE(layers([](Program&) {}) == std::vector<int>{1, 2});
  REQUIRE(layers([](Program& p) { p.ops[0].table[7] = 1; }) == std::vector<int>{2});
  REQUIRE(layers([](Program& p) { p.ops[1].channels[3].bias = 4; }) == std::vector<int>{1});
  REQUIRE(layers([](Program& p) { p.ops[1].weights.shift = 0; }) == std::vector<int>{1});
  REQUIRE(layers([](Program& p) { p.ops[1].channels[3].multiplier = 0.1f; }) ==
          std::vector<int>{1});
  REQUIRE(layers([](Program& p) { p.values[1].zero_point = 0; }) == std::vector<int>{2});
  REQUIRE(layers([](Program& p) { p.ops[1].low = 0; }) == std::vector<int>{1});
}

TEST_CASE("a tensor with readers that want different borders") {
  Builder b(8, 8, 4);
  const int32_t x = b.table(0, false);
  const int32_t one = b.convolution(x, {6, 3, 1, 1, 1, 1, 5});
  const int32_t two = b.convolution(x, {6, 5, 1, 2, 1, 1, 9});
  const int32_t three = b.convolution(x, {6, 7, 1, 3, 1, 1, 9});
  const int32_t four = b.convolution(x, {6, 1, 1, 0});
  const int32_t image = b.convolution(0, {6, 3, 1, 1, 1, 1, 11});  // of the bytes themselves
  const int32_t v = b.concat({one, two, three, four, image});
  b.average(b.add(v, v));
  check(b.p, 6);
}

TEST_CASE("what moves and adds codes") {
  Builder b(11, 9, 5);
  const int32_t x = b.table(0, true);
  const int32_t wide = b.convolution(x, {19, 3, 2, 1});
  const int32_t narrow = b.subsample(x, 3, 11);
  const int32_t sum = b.add(wide, narrow);
  const int32_t pooled = b.max_pool(b.concat({sum, wide, narrow}), 3, 2, 1);
  const int32_t again = b.table(b.max_pool(pooled, 2, 2, 0), true);
  b.linear(b.convolution(again, {33, 3}), 12, false);
  check(b.p, 9);
}

TEST_CASE("a session without threads of its own, and calls without images") {
  Builder b(4, 4, 2);
  b.linear(b.table(0, true), 3, true);
  Session session(std::make_shared<const Program>(b.p));
  session.run(nullptr, 0, nullptr);
  REQUIRE_THROWS_WITH(session.codes(1), Catch::Contains("keeps no tensors"));
}
