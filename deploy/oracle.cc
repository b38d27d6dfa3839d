#include "deploy/oracle.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace halftone {
namespace {

using integer::Image;
using integer::Window;
using runtime::Op;
using runtime::OpKind;
using runtime::OutputChannel;
using runtime::Value;

int64_t at(const Image& s, int64_t y, int64_t x, int64_t c) {
  return (y * s.width + x) * s.channels + c;
}

// Bit by bit: most significant stored bit last.
std::vector<int16_t> read_weights(const runtime::Program& program, const Op& op) {
  std::vector<int16_t> out;
  if (op.kind != OpKind::kConvolution) return out;
  const runtime::Weights& w = op.weights;
  const int64_t depth = program.values[op.inputs[0]].shape.channels / op.groups;
  const auto row = static_cast<size_t>(depth * op.window.kernel_h * op.window.kernel_w);
  for (size_t i = 0; i < row * op.channels.size(); ++i) {
    int32_t level = 0;
    for (size_t b = 0; b < static_cast<size_t>(w.bits); ++b) {
      const size_t bit = i * static_cast<size_t>(w.bits) + b;
      level += ((w.packed[bit >> 3] >> (bit & 7)) & 1) << b;
    }
    const OutputChannel& c = op.channels[i / row];
    int32_t code = w.low + w.step * level;
    if (!w.zero_points.empty()) code = level - w.zero_points[i / row];
    for (int32_t s = 0; s < w.shift; ++s) code *= 2;
    out.push_back(static_cast<int16_t>(c.constant ? 0 : c.negated ? -code : code));
  }
  return out;
}

float to_bf16(float v) {
  uint32_t bits;
  std::memcpy(&bits, &v, 4);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
  std::memcpy(&v, &bits, 4);
  return v;
}

double rounded(double t, OracleRules::Rounding rule) {
  const double down = std::floor(t), rest = t - down;  // both exact
  switch (rule) {
    case OracleRules::Rounding::kTruncate:
      return t < 0 && rest > 0 ? down + 1 : down;
    case OracleRules::Rounding::kHalfUp:
      return rest >= 0.5 ? down + 1 : down;
    case OracleRules::Rounding::kHalfAway:
      return rest > 0.5 || (rest == 0.5 && t > 0) ? down + 1 : down;
    case OracleRules::Rounding::kHalfEven:
      break;
  }
  if (rest != 0.5) return rest > 0.5 ? down + 1 : down;
  return std::fmod(down, 2.0) != 0 ? down + 1 : down;
}

// fl(fl(sum) m): the product of two floats is exact in double.
float product(int64_t sum, float multiplier) {
  return static_cast<float>(static_cast<double>(static_cast<float>(sum)) *
                            static_cast<double>(multiplier));
}

// Up to 2^15 products of at most 255 * 255 fit an int32.
int64_t sum_of_products(const int16_t* x, const int16_t* w, int64_t count) {
  int64_t total = 0;
  for (int64_t first = 0; first < count; first += 1 << 15) {
    const int64_t end = std::min<int64_t>(first + (1 << 15), count);
    int32_t sum = 0;
    for (int64_t k = first; k < end; ++k) sum += int32_t{x[k]} * w[k];
    total += sum;
  }
  return total;
}

// One operation at work.
class OpOracle {
 public:
  OpOracle(const runtime::Program& program, const Op& op, const OracleRules& rules,
           const std::vector<int16_t>& weights, const CodeTensors& codes)
      : program_(program),
        op_(op),
        rules_(rules),
        weights_(weights),
        codes_(codes),
        out_(program.values[op.output]) {}

  void run(std::vector<uint8_t>& out, std::vector<float>& reals) const {
    const Image& s = out_.shape;
    (out_.is_float ? out.resize(0) : out.resize(static_cast<size_t>(s.size())));
    if (out_.is_float) reals.resize(static_cast<size_t>(s.size()));
    std::vector<int64_t> sums;
    if (op_.kind == OpKind::kConvolution) sums = accumulators();
    for (int64_t y = 0; y < s.height; ++y) {
      for (int64_t x = 0; x < s.width; ++x) {
        for (int64_t c = 0; c < s.channels; ++c) {
          const int64_t i = at(s, y, x, c);
          if (op_.kind == OpKind::kConvolution) {
            const int64_t acc = op_.pools ? pooled(sums, y, x, c) : sums[i];
            (out_.is_float ? void(reals[i] = real(acc, c)) : void(out[i] = code(acc, c)));
          } else {
            out[i] = other(y, x, c);
          }
        }
      }
    }
  }

 private:
  const Value& in(size_t i = 0) const { return program_.values[op_.inputs[i]]; }
  int32_t code_of(size_t i, int64_t y, int64_t x, int64_t c) const {
    return codes_[op_.inputs[i]][at(in(i).shape, y, x, c)];
  }
  const OutputChannel& channel(int64_t c) const {
    return op_.channels[op_.channels.size() == 1 ? 0 : c];
  }
  float multiplier(int64_t c) const {
    return rules_.bf16_multipliers ? to_bf16(channel(c).multiplier) : channel(c).multiplier;
  }

  float real(int64_t acc, int64_t c) const {
    return std::min(std::max(product(acc + channel(c).bias, multiplier(c)), op_.low), op_.high);
  }
  uint8_t code(int64_t acc, int64_t c) const {
    const double t = rounded(static_cast<double>(product(acc + channel(c).bias, multiplier(c))),
                             rules_.rounding);
    const double inside =
        std::min(std::max(t, static_cast<double>(op_.low)), static_cast<double>(op_.high));
    return static_cast<uint8_t>(static_cast<int32_t>(inside) + out_.zero_point);
  }

  // The input less its zero point, with what lies around it.
  std::vector<int16_t> framed(Image& frame) const {
    const Image& s = in().shape;
    const int32_t zero = rules_.ignores_zero_point ? 0 : in().zero_point;
    const int32_t around = rules_.pads_with_code_0 ? 0 : op_.pad_code;
    frame = s;
    frame.height += 2 * op_.window.pad_h, frame.width += 2 * op_.window.pad_w;
    std::vector<int16_t> x(static_cast<size_t>(frame.size()), static_cast<int16_t>(around - zero));
    for (int64_t i = 0; i < s.height; ++i) {
      for (int64_t j = 0; j < s.width; ++j) {
        for (int64_t c = 0; c < s.channels; ++c)
          x[at(frame, i + op_.window.pad_h, j + op_.window.pad_w, c)] =
              static_cast<int16_t>(code_of(0, i, j, c) - zero);
      }
    }
    return x;
  }

  // The convolution's sums, as defined. check_program has seen that they fit in int32.
  std::vector<int64_t> accumulators() const {
    const Window& w = op_.window;
    const Image& s = op_.pools ? op_.unpooled : out_.shape;
    Image frame;
    const std::vector<int16_t> x = framed(frame);
    const int64_t count = in().shape.channels / op_.groups, rows = s.channels / op_.groups;
    std::vector<int64_t> sums(static_cast<size_t>(s.size()));
    for (int64_t i = 0; i < static_cast<int64_t>(sums.size()); ++i) {
      const int64_t c = i % s.channels, px = i / s.channels % s.width,
                    py = i / s.channels / s.width;
      const int16_t* weight = weights_.data() + c * w.taps() * count;
      int64_t sum = 0;
      for (int64_t a = 0; a < w.kernel_h; ++a) {
        for (int64_t b = 0; b < w.kernel_w; ++b, weight += count) {
          const int16_t* tap = &x[at(frame, py * w.stride_h + a * w.dilation_h,
                                     px * w.stride_w + b * w.dilation_w, c / rows * count)];
          sum += sum_of_products(tap, weight, count);
        }
      }
      sums[i] = sum;
    }
    return sums;
  }

  // Largest (or smallest) value of a window; get(y, x).
  template <class Get>
  int64_t extreme(const Image& s, const Window& w, int64_t y, int64_t x, bool least,
                  Get get) const {
    int64_t best =
        least ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int64_t>::min();
    for (int64_t a = 0; a < w.kernel_h; ++a) {
      for (int64_t b = 0; b < w.kernel_w; ++b) {
        const int64_t i = y * w.stride_h - w.pad_h + a, j = x * w.stride_w - w.pad_w + b;
        if (i < 0 || j < 0 || i >= s.height || j >= s.width) continue;
        best = least ? std::min<int64_t>(best, get(i, j)) : std::max<int64_t>(best, get(i, j));
      }
    }
    return best;
  }
  int64_t pooled(const std::vector<int64_t>& sums, int64_t y, int64_t x, int64_t c) const {
    return extreme(op_.unpooled, op_.pool, y, x, op_.channels[c].takes_min,
                   [&](int64_t i, int64_t j) { return sums[at(op_.unpooled, i, j, c)]; });
  }

  uint8_t other(int64_t y, int64_t x, int64_t c) const {
    switch (op_.kind) {
      case OpKind::kTable: {
        const size_t column = op_.table.size() > 256 ? 256 * static_cast<size_t>(c) : 0;
        return op_.table[column + static_cast<size_t>(code_of(0, y, x, c))];
      }
      case OpKind::kMaxPool:
        return static_cast<uint8_t>(
            extreme(in().shape, op_.window, y, x, false,
                    [&](int64_t i, int64_t j) { return code_of(0, i, j, c); }));
      case OpKind::kAveragePool:
        return average(c);
      case OpKind::kAdd:
        return sum(y, x, c);
      case OpKind::kConcat:
        return concatenated(y, x, c);
      case OpKind::kSubsamplePad: {
        const int64_t stride = op_.window.stride_h, from = c - op_.pad_before;
        const bool inside = from >= 0 && from < in().shape.channels;
        return static_cast<uint8_t>(inside ? code_of(0, y * stride, x * stride, from)
                                           : in().zero_point);
      }
      case OpKind::kConvolution:
        break;
    }
    throw runtime::ProgramError("the oracle does not know this operation");
  }

  uint8_t average(int64_t c) const {
    int64_t sum = 0;
    for (int64_t i = 0; i < in().shape.height; ++i) {
      for (int64_t j = 0; j < in().shape.width; ++j) sum += code_of(0, i, j, c) - in().zero_point;
    }
    return code(sum, c);
  }
  uint8_t sum(int64_t y, int64_t x, int64_t c) const {
    const int64_t t =
        int64_t{code_of(0, y, x, c)} - in(0).zero_point + code_of(1, y, x, c) - in(1).zero_point;
    const auto low = static_cast<int64_t>(op_.low), high = static_cast<int64_t>(op_.high);
    return static_cast<uint8_t>(std::min(std::max(t, low), high) + out_.zero_point);
  }
  uint8_t concatenated(int64_t y, int64_t x, int64_t c) const {
    size_t part = 0;
    while (c >= in(part).shape.channels) c -= in(part++).shape.channels;
    return static_cast<uint8_t>(code_of(part, y, x, c));
  }

  const runtime::Program& program_;
  const Op& op_;
  const OracleRules& rules_;
  const std::vector<int16_t>& weights_;
  const CodeTensors& codes_;
  const Value& out_;
};

}  // namespace

Oracle::Oracle(const runtime::Program& program, const OracleRules& rules)
    : program_(program), rules_(rules) {
  for (const Op& op : program.ops) weights_.push_back(read_weights(program, op));
}

void Oracle::run_op(size_t index, const CodeTensors& codes, std::vector<uint8_t>& out,
                    std::vector<float>& reals) const {
  OpOracle(program_, program_.ops[index], rules_, weights_[index], codes).run(out, reals);
}

void Oracle::run(CodeTensors& codes, std::vector<float>& result) const {
  codes.resize(program_.values.size());
  for (size_t i = 0; i < program_.ops.size(); ++i) run_op(i, codes, codes[i + 1], result);
  const Value& last = program_.result();
  if (last.is_float) return;
  result.clear();
  for (const uint8_t code : codes.back())
    result.push_back(last.scale * static_cast<float>(code - last.zero_point));
}

}  // namespace halftone
