// A convolution in which every channel has a kernel of its own: 64 channels at a time.
#include "deploy/runtime/packed_layer.h"
#include "deploy/runtime/step.h"

namespace halftone::runtime {
namespace {

class DepthwiseStep : public Step {
 public:
  DepthwiseStep(const Program& program, const Op& op, const Places& places, int32_t in,
                const integer::Body& body)
      : op_(op),
        places_(places),
        in_(in),
        out_(program.values[op.output]),
        body_(body),
        packed_(pack_depthwise(program, op)) {}

  void run(const Round& round) const override {
    const Place &from = places_.places[in_], &to = places_.places[op_.output];
    const integer::Window& w = op_.window;
    fill_border(to, round);
    integer::Depthwise d{};
    d.height = out_.shape.height, d.width = out_.shape.width, d.channels = out_.shape.channels;
    d.first = round.first(round.count * d.height), d.last = round.last(round.count * d.height);
    d.x = source(places_, in_, round) - w.pad_h * from.row() - int64_t{w.pad_w} * d.channels;
    d.from = {from.image(), w.stride_h * from.row(), int64_t{w.stride_w} * d.channels};
    d.to = to.steps();
    d.kernel_h = w.kernel_h, d.kernel_w = w.kernel_w;
    d.tap_row = w.dilation_h * from.row(), d.tap_column = int64_t{w.dilation_w} * d.channels;
    d.weights = packed_.weights.data();
    d.start = packed_.start.data(), d.multiplier = packed_.multiplier.data();
    d.offset = packed_.offset.empty() ? nullptr : packed_.offset.data();
    d.codes = target(places_, op_.output, round);
    const int32_t z = out_.zero_point;
    d.code_range = {z, static_cast<int32_t>(op_.low) + z, static_cast<int32_t>(op_.high) + z};
    d.bounded = packed_.bounded;
    body_.depthwise(d);
  }

 private:
  const Op& op_;
  const Places& places_;
  const int32_t in_;
  const Value& out_;
  const integer::Body body_;
  const PackedLayer packed_;
};

}  // namespace

StepPtr make_depthwise(const Program& program, const Op& op, const Places& places, int32_t in,
                       const integer::Body& body) {
  return std::make_unique<DepthwiseStep>(program, op, places, in, body);
}

}  // namespace halftone::runtime
