#include "deploy/runtime/session.h"

#include <algorithm>

#include "kernels/integer/code_ops.h"

namespace halftone::runtime {
namespace {

using integer::Image;
using quant_math::Channel;

int32_t padded(int64_t n) {
  const int64_t block = integer::kDotBlock;
  return static_cast<int32_t>((n + block - 1) / block * block);
}

// A convolution made ready: weights in rows of `depth`, and what the zero point of x costs.
struct Prepared {
  int32_t depth = 0;
  std::vector<int8_t> weights;
  std::vector<int32_t> offset;
  std::vector<Channel> channels;
  std::vector<uint8_t> takes_min;
};

Prepared prepare_convolution(const Program& program, const Op& op) {
  Prepared p;
  const int64_t row = weights_per_channel(program, op);
  const auto rows = static_cast<int64_t>(op.channels.size());
  const std::vector<int8_t> codes = unpack_weights(op, row * rows);
  const int32_t zero = program.values[op.inputs[0]].zero_point;
  p.depth = padded(row);
  p.weights.assign(static_cast<size_t>(rows * p.depth), 0);
  for (int64_t r = 0; r < rows; ++r) {
    const int8_t* from = codes.data() + r * row;
    std::copy(from, from + row, p.weights.begin() + r * p.depth);
    uint32_t sum = 0;
    for (int64_t k = 0; k < row; ++k) sum += static_cast<uint32_t>(int32_t{from[k]});
    p.offset.push_back(static_cast<int32_t>(0u - static_cast<uint32_t>(zero) * sum));
    p.takes_min.push_back(op.channels[r].takes_min);
  }
  return p;
}

Prepared prepare(const Program& program, const Op& op) {
  Prepared p;
  if (op.kind == OpKind::kConvolution) p = prepare_convolution(program, op);
  const bool averages = op.kind == OpKind::kAveragePool;
  const size_t repeat = averages ? program.values[op.output].shape.channels : 1;
  for (const OutputChannel& c : op.channels)
    p.channels.insert(p.channels.end(), repeat, Channel{c.constant ? 0 : -1, c.bias, c.multiplier});
  return p;
}

}  // namespace

struct Session::Impl {
  Impl(std::shared_ptr<const Program> p, const integer::Body& b) : program(std::move(p)), body(b) {
    check_program(*program);
    for (const Value& v : program->values)
      codes.emplace_back(v.is_float ? 0 : static_cast<size_t>(v.shape.size()));
    for (const Op& op : program->ops) prepared.push_back(prepare(*program, op));
    result.resize(static_cast<size_t>(program->result().shape.size()));
  }

  const Value& in(const Op& op) const { return program->values[op.inputs[0]]; }
  const Value& out(const Op& op) const { return program->values[op.output]; }
  const uint8_t* source(const Op& op, size_t i = 0) const {
    return op.inputs[i] == 0 ? image : codes[op.inputs[i]].data();
  }
  uint8_t* target(const Op& op) { return codes[op.output].data(); }

  integer::Epilogue epilogue(const Op& op, const Prepared& p) const {
    const int32_t* offset = p.offset.empty() ? nullptr : p.offset.data();
    return {p.channels.data(), offset, op.low, op.high, out(op).zero_point};
  }

  // `pixels` rows of accumulators to the output, from its pixel `first` on.
  void finish(const Op& op, const Prepared& p, const int32_t* acc, int64_t first, int64_t pixels) {
    const int32_t n = out(op).shape.channels;
    const integer::Epilogue e = epilogue(op, p);
    for (int64_t i = first; i < first + pixels; ++i, acc += n) {
      if (out(op).is_float) {
        integer::epilogue_row(acc, n, e, result.data() + i * n);
      } else {
        integer::epilogue_row(acc, n, e, target(op) + i * n);
      }
    }
  }

  // All channels of one pixel.
  void convolve_pixel(const Op& op, const Prepared& p, int32_t y, int32_t x, int32_t* out_acc) {
    const Image& shape = in(op).shape;
    const int32_t count = shape.channels / op.groups, rows = out(op).shape.channels / op.groups;
    for (int32_t g = 0; g < op.groups; ++g) {
      integer::gather_taps(source(op), shape, op.window, y, x, g * count, count,
                           static_cast<uint8_t>(op.pad_code), taps.data());
      const int8_t* w = p.weights.data() + static_cast<int64_t>(g) * rows * p.depth;
      body.dot_rows(taps.data(), w, p.depth, rows, out_acc + g * rows);
    }
  }

  void convolve(const Op& op, const Prepared& p) {
    const Image& shape = op.pools ? op.unpooled : out(op).shape;
    const int32_t n = shape.channels;
    taps.assign(p.depth, 0);
    acc.resize(static_cast<size_t>(op.pools ? shape.size() : n));
    for (int32_t y = 0; y < shape.height; ++y) {
      for (int32_t x = 0; x < shape.width; ++x) {
        const int64_t pixel = int64_t{y} * shape.width + x;
        convolve_pixel(op, p, y, x, acc.data() + (op.pools ? pixel * n : 0));
        if (!op.pools) finish(op, p, acc.data(), pixel, 1);
      }
    }
    if (!op.pools) return;
    const Image& pooled_shape = out(op).shape;
    pooled.resize(static_cast<size_t>(pooled_shape.size()));
    integer::max_pool(acc.data(), shape, op.pool, pooled_shape, p.takes_min.data(), pooled.data());
    finish(op, p, pooled.data(), 0, pooled_shape.size() / n);
  }

  void average(const Op& op, const Prepared& p) {
    acc.resize(static_cast<size_t>(in(op).shape.channels));
    integer::sum_pixels(source(op), in(op).shape, in(op).zero_point, acc.data());
    finish(op, p, acc.data(), 0, 1);
  }

  void add(const Op& op) {
    const integer::Sum sum{in(op).zero_point, program->values[op.inputs[1]].zero_point,
                           out(op).zero_point, static_cast<int32_t>(op.low),
                           static_cast<int32_t>(op.high)};
    integer::add_codes(source(op, 0), source(op, 1), out(op).shape.size(), sum, target(op));
  }

  void concat(const Op& op) {
    int32_t first = 0;
    for (size_t i = 0; i < op.inputs.size(); ++i) {
      const Image& shape = program->values[op.inputs[i]].shape;
      integer::place_channels(source(op, i), int64_t{1} * shape.height * shape.width,
                              shape.channels, first, out(op).shape.channels, target(op));
      first += shape.channels;
    }
  }

  void run_op(const Op& op, const Prepared& p) {
    const Image& shape = in(op).shape;
    switch (op.kind) {
      case OpKind::kTable:
        return integer::map_codes(source(op), int64_t{1} * shape.height * shape.width,
                                  shape.channels, op.table.data(),
                                  static_cast<int32_t>(op.table.size() / 256), target(op));
      case OpKind::kConvolution:
        return convolve(op, p);
      case OpKind::kMaxPool:
        return integer::max_pool(source(op), shape, op.window, out(op).shape, target(op));
      case OpKind::kAveragePool:
        return average(op, p);
      case OpKind::kAdd:
        return add(op);
      case OpKind::kConcat:
        return concat(op);
      case OpKind::kSubsamplePad:
        return integer::subsample_pad(source(op), shape, op.window.stride_h, op.pad_before,
                                      static_cast<uint8_t>(in(op).zero_point), out(op).shape,
                                      target(op));
    }
  }

  void run(const uint8_t* bytes) {
    image = bytes;
    for (size_t i = 0; i < program->ops.size(); ++i) run_op(program->ops[i], prepared[i]);
    const Value& last = program->result();
    if (last.is_float) return;
    for (size_t i = 0; i < result.size(); ++i)
      result[i] = last.scale * static_cast<float>(codes.back()[i] - last.zero_point);
  }

  std::shared_ptr<const Program> program;
  integer::Body body;
  std::vector<Prepared> prepared;           // one per op
  std::vector<std::vector<uint8_t>> codes;  // one per value; the image stays where it is
  std::vector<uint8_t> taps;                // of one pixel
  std::vector<int32_t> acc, pooled;
  std::vector<float> result;
  const uint8_t* image = nullptr;
};

Session::Session(std::shared_ptr<const Program> program, const integer::Body& body)
    : impl_(std::make_unique<Impl>(std::move(program), body)) {}
Session::~Session() = default;

const Program& Session::program() const { return *impl_->program; }

const std::vector<float>& Session::run(const uint8_t* image) {
  impl_->run(image);
  return impl_->result;
}

const std::vector<float>& Session::run(const uint8_t* image, size_t bytes) {
  const Image& s = program().input().shape;
  if (bytes == static_cast<size_t>(s.size())) return run(image);
  throw ProgramError("program " + program().network + " takes images of " +
                     std::to_string(s.height) + " x " + std::to_string(s.width) + " pixels and " +
                     std::to_string(s.channels) + " channels, " + std::to_string(s.size()) +
                     " bytes, not " + std::to_string(bytes));
}

const uint8_t* Session::codes(int32_t value) const { return impl_->codes.at(value).data(); }

int32_t index_of_largest(const std::vector<float>& logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace halftone::runtime
