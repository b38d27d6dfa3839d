// What the engine takes for granted: checked once, when a program is loaded or compiled.
#include <math.h>

#include <algorithm>

#include "deploy/runtime/program.h"

namespace halftone::runtime {
namespace {

using integer::Image;
using integer::Window;

constexpr int32_t kLargestExtent = 1 << 16, kLargestKernel = 1 << 12;
constexpr int64_t kLargestValue = int64_t{1} << 26, kLargestBias = int64_t{1} << 30;

void require(bool good, const char* what) {
  if (!good) throw ProgramError(what);
}

bool within(int64_t v, int64_t low, int64_t high) { return v >= low && v <= high; }
bool same(const Image& a, const Image& b) {
  return a.height == b.height && a.width == b.width && a.channels == b.channels;
}
bool is_whole(float v) { return isfinite(v) && v == rintf(v); }

// Names go into messages.
void check_name(const std::string& name) {
  const auto control = [](char c) { return (c >= 0 && c < ' ') || c == 127; };
  require(std::none_of(name.begin(), name.end(), control), "a name holds control characters");
}

void check_shape(const Image& s) {
  for (const int32_t n : {s.height, s.width, s.channels})
    require(within(n, 1, kLargestExtent), "a tensor's extent is out of bounds");
  require(s.size() <= kLargestValue && int64_t{1} * s.height * s.width <= (1 << 22),
          "a tensor is too large");
}

void check_value(const Value& v) {
  check_name(v.name);
  check_shape(v.shape);
  require(isfinite(v.scale) && v.scale > 0, "a scale is not positive");
  require(within(v.low, 0, 255) && within(v.high, v.low, 255), "a code range is not within uint8");
  require(within(v.zero_point, 0, 255), "a zero point is not within uint8");
}

void check_window(const Window& w) {
  for (const int32_t n :
       {w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.dilation_h, w.dilation_w})
    require(within(n, 1, kLargestKernel), "a window's extent is out of bounds");
  for (const int32_t n : {w.pad_h, w.pad_w})
    require(within(n, 0, kLargestKernel), "a window's padding is out of bounds");
}

int64_t convolved(int64_t in, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
  const int64_t room = in + 2 * pad - dilation * (kernel - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

// Every window of a pooling has a tap inside.
void check_pool(const Image& in, const Window& w, const Image& out) {
  check_window(w);
  require(w.dilation_h == 1 && w.dilation_w == 1, "a pooling is dilated");
  const auto fits = [](int64_t n, int64_t kernel, int64_t stride, int64_t pad, int64_t count) {
    return kernel > pad && (count - 1) * stride - pad < n;
  };
  require(fits(in.height, w.kernel_h, w.stride_h, w.pad_h, out.height) &&
              fits(in.width, w.kernel_w, w.stride_w, w.pad_w, out.width) &&
              in.channels == out.channels,
          "a pooling does not fit its input");
}

class OpCheck {
 public:
  OpCheck(const Program& program, const Op& op)
      : program_(program), op_(op), out_(program.values[op.output]) {}

  void run() const {
    switch (op_.kind) {
      case OpKind::kTable:
        return table();
      case OpKind::kConvolution:
        return convolution();
      case OpKind::kMaxPool:
        return max_pool();
      case OpKind::kAveragePool:
        return average_pool();
      case OpKind::kAdd:
        return add();
      case OpKind::kConcat:
        return concat();
      case OpKind::kSubsamplePad:
        return subsample_pad();
    }
    throw ProgramError("this library does not know the operation");
  }

 private:
  const Value& in(size_t i = 0) const { return program_.values[op_.inputs[i]]; }
  void inputs(size_t count) const {
    require(op_.inputs.size() == count, "the number of its inputs is wrong");
  }
  void keeps_codes(const Value& v) const {
    require(v.scale == out_.scale && v.zero_point == out_.zero_point && v.low == out_.low &&
                v.high == out_.high,
            "its codes change their meaning");
  }
  // What clamping leaves are codes of the output.
  void bounds() const {
    if (out_.is_float) return require(op_.low <= op_.high, "its bounds are not in order");
    require(is_whole(op_.low) && is_whole(op_.high) && op_.low <= op_.high &&
                op_.low + static_cast<float>(out_.zero_point) >= static_cast<float>(out_.low) &&
                op_.high + static_cast<float>(out_.zero_point) <= static_cast<float>(out_.high),
            "its bounds are no codes of its result");
  }

  void table() const {
    inputs(1);
    const size_t channels = op_.table.size() / 256;
    require(op_.table.size() % 256 == 0 &&
                (channels == 1 || channels == static_cast<size_t>(in().shape.channels)),
            "its table has a wrong size");
    require(same(in().shape, out_.shape), "its result has another shape than its input");
    for (const uint8_t code : op_.table)
      require(within(code, out_.low, out_.high), "its table leaves the codes of its result");
  }

  Image convolved_shape() const {
    const Window& w = op_.window;
    Image shape;
    shape.height = static_cast<int32_t>(
        convolved(in().shape.height, w.kernel_h, w.stride_h, w.pad_h, w.dilation_h));
    shape.width = static_cast<int32_t>(
        convolved(in().shape.width, w.kernel_w, w.stride_w, w.pad_w, w.dilation_w));
    shape.channels = out_.shape.channels;
    return shape;
  }

  void convolution() const {
    inputs(1);
    check_window(op_.window);
    const int32_t from = in().shape.channels, to = out_.shape.channels;
    require(op_.groups >= 1 && from % op_.groups == 0 && to % op_.groups == 0,
            "its groups do not divide its channels");
    require(within(op_.pad_code, in().low, in().high), "its padding is no code of its input");
    require(op_.channels.size() == static_cast<size_t>(to), "it has constants for other channels");
    if (op_.pools) {
      check_shape(op_.unpooled);
      require(same(convolved_shape(), op_.unpooled), "it does not fit its input");
      check_pool(op_.unpooled, op_.pool, out_.shape);
    } else {
      require(same(convolved_shape(), out_.shape), "it does not fit its input");
    }
    bounds();
    constants();
    weights();
  }

  void constants() const {
    for (const OutputChannel& c : op_.channels) {
      require(isfinite(c.multiplier) && c.multiplier >= 0, "a multiplier is not finite");
      require(within(c.bias, -kLargestBias, kLargestBias), "a bias is too large");
    }
  }

  void weights() const {
    const Weights& w = op_.weights;
    require(w.bits == 1 || w.bits == 2 || w.bits == 4 || w.bits == 8,
            "its weights have neither 1, 2, 4 nor 8 bits");
    require(within(w.low, -128, 127) && within(w.step, 1, 255) && within(w.shift, 0, 7),
            "its weights are no int8");
    require(w.zero_points.empty() ||
                (w.zero_points.size() == op_.channels.size() && w.low == 0 && w.step == 1),
            "its weights' zero points are not one per channel, on codes from 0 on");
    const int64_t row = weights_per_channel(program_, op_);
    require(row <= kLargestValue, "it has too many weights");
    const int64_t count = row * out_.shape.channels;
    require(static_cast<int64_t>(w.packed.size()) == (count * w.bits + 7) / 8,
            "it has a wrong number of weights");
    const std::vector<int16_t> codes = unpack_weights(op_, count);
    // Codes of -128 .. 127 and, apart, the sum of a window: neither may leave int32.
    require(row <= (1 << 16) || narrow_weights(op_, count).offsets.empty(),
            "a sum of stored codes may leave int32");
    for (size_t c = 0; c < op_.channels.size(); ++c) {
      const int64_t bound = accumulator_bound(in(), op_.channels[c], &codes[c * row], row);
      require(bound < (int64_t{1} << 31), "an accumulator may leave int32");
      if (op_.pools) pooled_sum(&codes[c * row], row);
    }
  }

  // The engine takes the maximum of sums of codes, before what the zero point costs.
  void pooled_sum(const int16_t* weights, int64_t row) const {
    int64_t sum = 0;
    for (int64_t i = 0; i < row; ++i) sum += weights[i] < 0 ? -weights[i] : weights[i];
    require(255 * sum < (int64_t{1} << 31), "a pooled sum of codes may leave int32");
  }

  void max_pool() const {
    inputs(1);
    check_pool(in().shape, op_.window, out_.shape);
    keeps_codes(in());
  }

  void average_pool() const {
    inputs(1);
    require(out_.shape.height == 1 && out_.shape.width == 1 &&
                out_.shape.channels == in().shape.channels && op_.channels.size() == 1,
            "it does not fit its input");
    bounds();
    constants();
  }

  void add() const {
    inputs(2);
    require(same(in(0).shape, in(1).shape) && same(in(0).shape, out_.shape),
            "its inputs have different shapes");
    bounds();
  }

  void concat() const {
    int64_t channels = 0;
    for (size_t i = 0; i < op_.inputs.size(); ++i) {
      channels += in(i).shape.channels;
      keeps_codes(in(i));
      require(in(i).shape.height == out_.shape.height && in(i).shape.width == out_.shape.width,
              "its inputs have different shapes");
    }
    require(channels == out_.shape.channels, "its channels do not add up");
  }

  void subsample_pad() const {
    inputs(1);
    keeps_codes(in());
    const int32_t stride = op_.window.stride_h;
    require(within(stride, 1, kLargestKernel), "its stride is out of bounds");
    const auto every = [stride](int32_t n) { return (n + stride - 1) / stride; };
    require(out_.shape.height == every(in().shape.height) &&
                out_.shape.width == every(in().shape.width) && op_.pad_before >= 0 &&
                op_.pad_before <= out_.shape.channels - in().shape.channels,
            "it does not fit its input");
    require(within(in().zero_point, in().low, in().high), "zero is no code of its input");
  }

  const Program& program_;
  const Op& op_;
  const Value& out_;
};

// Values in order: every op makes the next one, from values before it.
void check_place(const Program& program, size_t i) {
  const Op& op = program.ops[i];
  require(op.output == static_cast<int32_t>(i) + 1, "the operations are not in order");
  require(!op.inputs.empty(), "it has no input");
  for (const int32_t v : op.inputs) {
    require(within(v, 0, op.output - 1), "it reads a tensor that is not there yet");
    require(!program.values[v].is_float, "it reads floats");
  }
  const bool last = i + 1 == program.ops.size();
  require(!program.values[op.output].is_float || (last && op.kind == OpKind::kConvolution),
          "it makes floats in the middle");
}

}  // namespace

void check_program(const Program& program) {
  require(!program.ops.empty() && program.values.size() == program.ops.size() + 1,
          "it has no operations, or not one tensor for each");
  check_name(program.network);
  for (const Op& op : program.ops) check_name(op.name);
  int64_t all = 0;
  for (const Value& v : program.values) {
    check_value(v);
    all += v.shape.size();
  }
  require(all <= 4 * kLargestValue, "its tensors are too large together");
  const Value& image = program.input();
  require(!image.is_float && image.low == 0 && image.high == 255, "its input is no bytes");
  for (size_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    try {
      check_place(program, i);
      OpCheck(program, op).run();
    } catch (const ProgramError& e) {
      throw ProgramError("operation " + std::to_string(i) + " (" + name_of(op.kind) + " " +
                         op.name + "): " + e.what());
    }
  }
}

}  // namespace halftone::runtime
