// A convolution: slabs of output channels times chunks of pixels, or of rows that are pooled.
#include <algorithm>

#include "deploy/runtime/binary.h"
#include "deploy/runtime/packed_layer.h"
#include "deploy/runtime/step.h"

namespace halftone::runtime {
namespace {

using integer::Image;
using integer::kLanes;

// Slabs larger than this together leave a core's second-level cache: each then takes all pixels in
// turn. Else all slabs take one chunk of pixels in turn.
constexpr int64_t kManyWeights = 512 << 10, kChunk = 256;

bool is_joined(const Op& op) {
  return op.groups == 1 && (op.window.dilation_w == 1 || op.window.kernel_w == 1);
}

const Image& own_shape(const Program& program, const Op& op) {
  return op.pools ? op.unpooled : program.values[op.output].shape;
}

class ConvolutionStep : public Step {
 public:
  ConvolutionStep(const Program& program, const Op& op, const Places& places, int32_t in,
                  const integer::Body& body)
      : ConvolutionStep(
            program, op, places, in, body,
            pack_layer(program, op, is_joined(op), !program.values[op.output].is_float)) {}

  int64_t scratch() const override {
    const int64_t windows = op_.pools ? pooled_pixels() : kChunk;
    return pooled_sums() + (is_wide() ? windows : 0);
  }

  void run(const Round& round) const override {
    if (!out_.is_float) fill_border(places_.places[op_.output], round);
    const auto slabs = static_cast<int64_t>(packed_.slabs.size()), chunks = chunks_of(round);
    const int64_t end = round.last(slabs * chunks);
    for (int64_t i = round.first(slabs * chunks); i < end; ++i) {
      const int64_t slab = slab_major_ ? i / chunks : i % slabs;
      const int64_t chunk = slab_major_ ? i % chunks : i / slabs;
      if (op_.pools) {
        run_pooled(round, packed_.slabs[slab], chunk);
      } else {
        run_chunk(round, packed_.slabs[slab], chunk, chunks);
      }
    }
  }

 protected:
  ConvolutionStep(const Program& program, const Op& op, const Places& places, int32_t in,
                  const integer::Body& body, PackedLayer packed)
      : op_(op),
        places_(places),
        in_(in),
        out_(program.values[op.output]),
        shape_(own_shape(program, op)),
        body_(body),
        packed_(std::move(packed)),
        slab_major_(packed_.weights.size() > kManyWeights) {
    const Place& from = places.places[in];
    const integer::Window& w = op.window;
    const int64_t columns = is_joined(op) ? 1 : w.kernel_w;
    for (int64_t r = 0; r < packed_.run_count; ++r) {
      runs_.push_back(r / columns * w.dilation_h * from.row() +
                      r % columns * w.dilation_w * from.shape.channels);
    }
    overlaps_ = op.pools && op.pool.kernel_h > op.pool.stride_h;
  }

  virtual void multiply(const integer::Slab& slab, const SlabPlan&) const { body_.multiply(slab); }

  const integer::Body& body() const { return body_; }

 private:
  bool is_wide() const { return !packed_.offset.empty(); }  // weights past int8
  int64_t pixels() const { return int64_t{shape_.height} * shape_.width; }
  // Whose sums are there at a time, and those sums.
  int64_t pooled_pixels() const {
    return op_.pools ? int64_t{overlaps_ ? shape_.height : op_.pool.kernel_h} * shape_.width : 0;
  }
  int64_t pooled_sums() const { return pooled_pixels() * integer::kSlabVectors * kLanes; }
  int64_t chunks_of(const Round& r) const {
    if (op_.pools) return r.count * (overlaps_ ? 1 : out_.shape.height);
    const int64_t size = kChunk * r.parts;
    return (r.count * pixels() + size - 1) / size * r.parts;
  }

  integer::CodeRange code_range() const {
    const int32_t z = out_.zero_point;
    return {z, static_cast<int32_t>(op_.low) + z, static_cast<int32_t>(op_.high) + z};
  }
  integer::Steps result_steps() const {
    if (!out_.is_float) return places_.places[op_.output].steps();
    const Image& s = out_.shape;
    return {s.size(), int64_t{s.width} * s.channels, s.channels};
  }

  // All but the pixels and the result.
  integer::Slab slab_of(const Round& round, const SlabPlan& plan) const {
    const Place& from = places_.places[in_];
    const integer::Window& w = op_.window;
    integer::Slab s{};
    s.height = shape_.height, s.width = shape_.width;
    s.x = source(places_, in_, round) - w.pad_h * from.row() -
          int64_t{w.pad_w} * from.shape.channels +
          int64_t{plan.group} * (from.shape.channels / op_.groups);
    s.from = {from.image(), w.stride_h * from.row(), int64_t{w.stride_w} * from.shape.channels};
    s.runs = runs_.data(), s.run_count = packed_.run_count;
    s.run_bytes = packed_.quads * integer::kQuad;
    s.weights = packed_.weights.data() + plan.weights;
    s.start = packed_.start.data() + plan.lanes;
    s.multiplier = packed_.multiplier.data() + plan.lanes;
    s.vectors = plan.vectors, s.channels = plan.channels;
    return s;
  }

  // Where the channels of the slab go, from the round's image `image` on.
  template <class S>
  void set_result(const Round& round, const SlabPlan& plan, int64_t image, S& s) const {
    s.to = result_steps();
    s.channels = plan.channels;
    if (out_.is_float) {
      s.reals = round.results + plan.first + image * s.to.image;
      s.real_range = {op_.low, op_.high};
    } else {
      s.codes = target(places_, op_.output, round) + plan.first + image * s.to.image;
      s.code_range = code_range();
    }
  }

  void run_chunk(const Round& round, const SlabPlan& plan, int64_t chunk, int64_t chunks) const {
    integer::Slab s = slab_of(round, plan);
    const int64_t all = round.count * pixels();
    s.first = all * chunk / chunks, s.last = all * (chunk + 1) / chunks;
    set_result(round, plan, 0, s);
    set_offsets(round, plan, s);
    multiply(s, plan);
  }

  // Of weights past int8: the sums of the windows, which a filter of ones makes.
  void set_offsets(const Round& round, const SlabPlan& plan, integer::Slab& s) const {
    if (!is_wide()) return;
    constexpr int32_t kZeros[kLanes] = {};
    int32_t* window = round.scratch + pooled_sums() - s.first;
    integer::Slab ones = s;
    ones.weights = packed_.ones.data(), ones.start = kZeros;
    ones.vectors = ones.channels = 1;
    ones.codes = nullptr, ones.reals = nullptr, ones.sums = window;
    ones.to = {pixels(), shape_.width, 1};
    body_.multiply(ones);
    s.window = window, s.offset = packed_.offset.data() + plan.lanes;
  }

  // One row of the pooled result, or where windows share rows, one image.
  void run_pooled(const Round& round, const SlabPlan& plan, int64_t chunk) const {
    const int32_t height = out_.shape.height;
    const int64_t image = overlaps_ ? chunk : chunk / height;
    integer::PooledSlab p{};
    p.first = overlaps_ ? 0 : static_cast<int32_t>(chunk % height);
    p.last = overlaps_ ? height : p.first + 1;
    const int32_t top = p.first * op_.pool.stride_h - op_.pool.pad_h;
    const int32_t bottom = (p.last - 1) * op_.pool.stride_h - op_.pool.pad_h + op_.pool.kernel_h;
    p.first_row = std::max(top, 0);
    sum_rows(round, plan, image, p.first_row, std::min(bottom, shape_.height));
    p.sums = round.scratch, p.flip = packed_.flip.data() + plan.lanes;
    p.multiplier = packed_.multiplier.data() + plan.lanes;
    p.height = shape_.height, p.width = shape_.width, p.out_width = out_.shape.width;
    p.pool = op_.pool, p.vectors = plan.vectors;
    set_result(round, plan, image, p);
    body_.finish_pooled(p);
  }

  void sum_rows(const Round& round, const SlabPlan& plan, int64_t image, int32_t top,
                int32_t bottom) const {
    integer::Slab s = slab_of(round, plan);
    s.first = image * pixels() + int64_t{top} * shape_.width;
    s.last = image * pixels() + int64_t{bottom} * shape_.width;
    s.channels = plan.vectors * kLanes;
    s.to = {pixels() * s.channels, int64_t{shape_.width} * s.channels, s.channels};
    s.sums = round.scratch - s.first * s.channels;
    set_offsets(round, plan, s);
    multiply(s, plan);
  }

  const Op& op_;
  const Places& places_;
  const int32_t in_;
  const Value& out_;
  const Image shape_;  // of the convolution's own output
  const integer::Body body_;
  const PackedLayer packed_;
  const bool slab_major_;
  bool overlaps_ = false;  // windows of the pooling share rows
  std::vector<int64_t> runs_;
};

// Of bits: the input is a packed copy.
class BitConvolutionStep : public ConvolutionStep {
 public:
  BitConvolutionStep(const Program& program, const Op& op, const Places& places, int32_t in,
                     const integer::Body& body)
      : BitConvolutionStep(program, op, places, in, body,
                           pack_bits_layer(program, op, own_shape(program, op), is_joined(op),
                                           !program.values[op.output].is_float)) {}

 private:
  BitConvolutionStep(const Program& program, const Op& op, const Places& places, int32_t in,
                     const integer::Body& body, PackedBits bits)
      : ConvolutionStep(program, op, places, in, body, std::move(bits.layer)),
        bits_(std::move(bits)) {}

  void multiply(const integer::Slab& slab, const SlabPlan& plan) const override {
    integer::BitSlab b{slab, bits_.factor.data() + plan.lanes, bits_.row_start.data(),
                       bits_.column_start.data()};
    b.slab.start = bits_.start.data() + plan.lanes;
    body().multiply_bits(b);
  }

  const PackedBits bits_;  // but for the layer
};

}  // namespace

StepPtr make_convolution(const Program& program, const Op& op, const Places& places, int32_t in,
                         const integer::Body& body) {
  return std::make_unique<ConvolutionStep>(program, op, places, in, body);
}

StepPtr make_bit_convolution(const Program& program, const Op& op, const Places& places, int32_t in,
                             const integer::Body& body) {
  return std::make_unique<BitConvolutionStep>(program, op, places, in, body);
}

}  // namespace halftone::runtime
