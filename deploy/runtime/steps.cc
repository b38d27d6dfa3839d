// Every operation but the convolutions: row by row.
#include <algorithm>
#include <cstring>

#include "deploy/runtime/step.h"
#include "kernels/integer/code_ops.h"

namespace halftone::runtime {
namespace {

// Rows of all images, shared among threads. `row(in, y, out)`: in[i] is the first pixel of the
// image of input i, out that of the row.
template <class Row>
class RowStep : public Step {
 public:
  RowStep(const Places& places, std::vector<int32_t> in, int32_t out, Row row)
      : places_(places), in_(std::move(in)), out_(out), row_(std::move(row)) {}

  void run(const Round& round) const override {
    const Place& to = places_.places[out_];
    fill_border(to, round);
    const int64_t height = to.shape.height, end = round.last(round.count * height);
    std::vector<const uint8_t*> images(in_.size());
    for (int64_t i = round.first(round.count * height); i < end; ++i) {
      for (size_t k = 0; k < in_.size(); ++k)
        images[k] = source(places_, in_[k], round) + i / height * places_.places[in_[k]].image();
      row_(images.data(), static_cast<int32_t>(i % height),
           target(places_, out_, round) + i / height * to.image() + i % height * to.row());
    }
  }

 private:
  const Places& places_;
  const std::vector<int32_t> in_;
  const int32_t out_;
  const Row row_;
};

template <class Row>
StepPtr rows(const Places& places, std::vector<int32_t> in, int32_t out, Row row) {
  return std::make_unique<RowStep<Row>>(places, std::move(in), out, std::move(row));
}

// Over whole images.
class AverageStep : public Step {
 public:
  AverageStep(const Program& program, const Op& op, const Places& places, int32_t in)
      : op_(op),
        places_(places),
        in_(in),
        zero_in_(program.values[op.inputs[0]].zero_point),
        zero_out_(program.values[op.output].zero_point) {
    const OutputChannel& c = op.channels[0];
    channel_ = {c.constant ? 0 : -1, c.bias, c.multiplier};
  }

  int64_t scratch() const override { return places_.places[in_].shape.channels; }

  void run(const Round& round) const override {
    fill_border(places_.places[op_.output], round);
    for (int64_t i = round.first(round.count); i < round.last(round.count); ++i)
      run_image(round, i);
  }

 private:
  void run_image(const Round& round, int64_t image) const {
    const Place &from = places_.places[in_], &to = places_.places[op_.output];
    const integer::Image& s = from.shape;
    const uint8_t* x = source(places_, in_, round) + image * from.image();
    uint8_t* y = target(places_, op_.output, round) + image * to.image();
    std::fill_n(round.scratch, s.channels, -zero_in_ * s.height * s.width);
    for (int32_t row = 0; row < s.height; ++row)
      integer::sum_row(x + row * from.row(), s.width, s.channels, round.scratch);
    for (int32_t c = 0; c < s.channels; ++c) {
      y[c] = static_cast<uint8_t>(
          quant_math::epilogue(round.scratch[c], channel_, op_.low, op_.high, zero_out_));
    }
  }

  const Op& op_;
  const Places& places_;
  const int32_t in_, zero_in_, zero_out_;
  quant_math::Channel channel_;
};

StepPtr make_table(const Op& op, const Places& places, const std::vector<int32_t>& in) {
  const Place& from = places.places[in[0]];
  return rows(places, in, op.output, [&](const uint8_t* const* x, int32_t y, uint8_t* out) {
    integer::map_codes(x[0] + y * from.row(), from.shape.width, from.shape.channels,
                       op.table.data(), static_cast<int32_t>(op.table.size() / 256), out);
  });
}

StepPtr make_max_pool(const Op& op, const Places& places, const std::vector<int32_t>& in) {
  const Place &from = places.places[in[0]], &to = places.places[op.output];
  return rows(places, in, op.output, [&](const uint8_t* const* x, int32_t y, uint8_t* out) {
    integer::max_pool_row(x[0], from.shape, from.row(), op.window, y, to.shape.width, out);
  });
}

StepPtr make_add(const Program& program, const Op& op, const Places& places,
                 const std::vector<int32_t>& in) {
  const Place &a = places.places[in[0]], &b = places.places[in[1]];
  const integer::Sum sum{program.values[op.inputs[0]].zero_point,
                         program.values[op.inputs[1]].zero_point,
                         program.values[op.output].zero_point, static_cast<int32_t>(op.low),
                         static_cast<int32_t>(op.high)};
  return rows(places, in, op.output,
              [&a, &b, sum](const uint8_t* const* x, int32_t y, uint8_t* out) {
                integer::add_codes(x[0] + y * a.row(), x[1] + y * b.row(),
                                   int64_t{a.shape.width} * a.shape.channels, sum, out);
              });
}

StepPtr make_concat(const Op& op, const Places& places, const std::vector<int32_t>& in) {
  const Place& to = places.places[op.output];
  return rows(places, in, op.output,
              [&places, &to, in](const uint8_t* const* x, int32_t y, uint8_t* out) {
                int32_t first = 0;
                for (size_t i = 0; i < in.size(); ++i) {
                  const Place& from = places.places[in[i]];
                  integer::place_channels(x[i] + y * from.row(), from.shape.width,
                                          from.shape.channels, first, to.shape.channels, out);
                  first += from.shape.channels;
                }
              });
}

StepPtr make_subsample_pad(const Program& program, const Op& op, const Places& places,
                           const std::vector<int32_t>& in) {
  const Place &from = places.places[in[0]], &to = places.places[op.output];
  const auto fill = static_cast<uint8_t>(program.values[op.inputs[0]].zero_point);
  return rows(places, in, op.output, [&, fill](const uint8_t* const* x, int32_t y, uint8_t* out) {
    const int32_t stride = op.window.stride_h;
    integer::subsample_pad(x[0] + int64_t{y} * stride * from.row(), from.shape.channels, stride,
                           op.pad_before, fill, to.shape.width, to.shape.channels, out);
  });
}

bool is_depthwise(const Program& program, const Op& op) {
  const Value &in = program.values[op.inputs[0]], &out = program.values[op.output];
  return op.groups == in.shape.channels && op.groups == out.shape.channels && op.groups > 1 &&
         !op.pools && !out.is_float;
}

}  // namespace

StepPtr make_copy(const Places& places, int32_t from, int32_t to, const integer::Body& body) {
  const Place& place = places.places[from];
  if (places.places[to].bits) {
    return rows(
        places, {from}, to, [&place, body](const uint8_t* const* x, int32_t y, uint8_t* out) {
          body.pack_bits(x[0] + y * place.row(), place.shape.width, place.shape.channels, out);
        });
  }
  return rows(places, {from}, to, [&place](const uint8_t* const* x, int32_t y, uint8_t* out) {
    std::memcpy(out, x[0] + y * place.row(),
                static_cast<size_t>(int64_t{place.shape.width} * place.shape.channels));
  });
}

StepPtr make_step(const Program& program, size_t index, const Places& places,
                  const integer::Body& body) {
  const Op& op = program.ops[index];
  const std::vector<int32_t>& in = places.in[index];
  switch (op.kind) {
    case OpKind::kTable:
      return make_table(op, places, in);
    case OpKind::kConvolution:
      return (places.places[in[0]].bits   ? make_bit_convolution
              : is_depthwise(program, op) ? make_depthwise
                                          : make_convolution)(program, op, places, in[0], body);
    case OpKind::kMaxPool:
      return make_max_pool(op, places, in);
    case OpKind::kAveragePool:
      return std::make_unique<AverageStep>(program, op, places, in[0]);
    case OpKind::kAdd:
      return make_add(program, op, places, in);
    case OpKind::kConcat:
      return make_concat(op, places, in);
    case OpKind::kSubsamplePad:
      return make_subsample_pad(program, op, places, in);
  }
  throw ProgramError("this library does not know the operation");
}

}  // namespace halftone::runtime
