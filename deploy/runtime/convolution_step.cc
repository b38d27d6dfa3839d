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
constexpr int64_t kWords = sizeof(int64_t) / sizeof(int32_t);

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

  int64_t scratch() const override { return first_sum() + pooled_sums() + windows(); }

  void run(const Round& round) const override {
    if (!out_.is_float) fill_border(places_.places[op_.output], round);
    const auto slabs = static_cast<int64_t>(packed_.slabs.size()), chunks = chunks_of(round);
    const int64_t end = round.last(slabs * chunks);
    int64_t placed = -1;
    for (int64_t i = round.first(slabs * chunks); i < end; ++i) {
      const int64_t slab = slab_major_ ? i / chunks : i % slabs;
      const int64_t chunk = slab_major_ ? i % chunks : i / slabs;
      const Chunk pixels = op_.pools ? rows_of(chunk) : chunk_of(round, chunk, chunks);
      if (placed != chunk) set_places(round, pixels);
      placed = chunk;
      if (op_.pools) {
        run_pooled(round, packed_.slabs[slab], chunk, pixels);
      } else {
        run_chunk(round, packed_.slabs[slab], pixels);
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

  // start_of: by pixel of the slab, what start_of(y, x) says of it.
  virtual void multiply(const integer::Slab& slab, const SlabPlan&,
                        const int64_t* /*start_of*/) const {
    body_.multiply(slab);
  }
  // BitSlab::start_of at a pixel of the convolution's own output.
  virtual int64_t start_of(int64_t /*y*/, int64_t /*x*/) const { return 0; }

  const integer::Body& body() const { return body_; }

 private:
  // Pixels of the convolution's own output, of all images of a round in a row.
  struct Chunk {
    int64_t first, count;
  };

  bool is_wide() const { return !packed_.offset.empty(); }  // weights past int8
  int64_t pixels() const { return int64_t{shape_.height} * shape_.width; }

  // A thread's memory: places of pixels, the sums that are pooled, and the sums of windows.
  int64_t pixels_at_once() const {
    if (!op_.pools) return kChunk;
    return int64_t{overlaps_ ? shape_.height : op_.pool.kernel_h} * shape_.width;
  }
  int64_t first_sum() const { return 3 * pixels_at_once() * kWords; }
  int64_t pooled_sums() const {
    return op_.pools ? pixels_at_once() * integer::kSlabVectors * kLanes : 0;
  }
  int64_t windows() const { return is_wide() ? pixels_at_once() : 0; }
  struct PixelPlaces {
    int64_t *from, *to, *start;  // by pixel of a chunk
  };
  PixelPlaces places_of(const Round& round) const {
    auto* first = reinterpret_cast<int64_t*>(round.scratch);
    return {first, first + pixels_at_once(), first + 2 * pixels_at_once()};
  }

  int64_t chunks_of(const Round& r) const {
    if (op_.pools) return r.count * (overlaps_ ? 1 : out_.shape.height);
    const int64_t size = kChunk * r.parts;
    return (r.count * pixels() + size - 1) / size * r.parts;
  }
  Chunk chunk_of(const Round& round, int64_t chunk, int64_t chunks) const {
    const int64_t all = round.count * pixels(), first = all * chunk / chunks;
    return {first, all * (chunk + 1) / chunks - first};
  }
  // The rows below one row of the pooled result, or where windows share rows, below an image.
  Chunk rows_of(int64_t chunk) const {
    const int32_t height = out_.shape.height;
    const int64_t image = overlaps_ ? chunk : chunk / height;
    const int64_t first = overlaps_ ? 0 : chunk % height, last = overlaps_ ? height - 1 : first;
    const int64_t top = std::max<int64_t>(first * op_.pool.stride_h - op_.pool.pad_h, 0);
    const int64_t bottom = std::min<int64_t>(
        last * op_.pool.stride_h - op_.pool.pad_h + op_.pool.kernel_h, shape_.height);
    return {image * pixels() + top * shape_.width, (bottom - top) * shape_.width};
  }

  void set_places(const Round& round, const Chunk& chunk) const {
    const Place& in = places_.places[in_];
    const integer::Window& w = op_.window;
    const integer::Steps from{in.image(), w.stride_h * in.row(),
                              int64_t{w.stride_w} * in.shape.channels};
    const integer::Steps to = result_steps();
    const PixelPlaces places = places_of(round);
    int64_t x = chunk.first % shape_.width, y = chunk.first / shape_.width;
    int64_t image = y / shape_.height;
    y %= shape_.height;
    for (int64_t p = 0; p < chunk.count; ++p) {
      places.from[p] = image * from.image + y * from.row + x * from.column;
      places.to[p] = image * to.image + y * to.row + x * to.column;
      places.start[p] = start_of(y, x);
      if (++x < shape_.width) continue;
      x = 0;
      if (++y == shape_.height) y = 0, ++image;
    }
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

  // All but the result.
  integer::Slab slab_of(const Round& round, const SlabPlan& plan, const Chunk& chunk) const {
    const Place& from = places_.places[in_];
    const integer::Window& w = op_.window;
    integer::Slab s{};
    s.pixels = chunk.count, s.from = places_of(round).from;
    s.x = source(places_, in_, round) - w.pad_h * from.row() -
          int64_t{w.pad_w} * from.shape.channels +
          int64_t{plan.group} * (from.shape.channels / op_.groups);
    s.runs = runs_.data(), s.run_count = packed_.run_count;
    s.run_bytes = packed_.quads * integer::kQuad;
    s.weights = packed_.weights.data() + plan.weights;
    s.start = packed_.start.data() + plan.lanes;
    s.multiplier = packed_.multiplier.data() + plan.lanes;
    s.vectors = plan.vectors, s.channels = plan.channels;
    return s;
  }

  // Where the channels of the slab go, from image `image` of the round on.
  template <class S>
  void set_result(const Round& round, const SlabPlan& plan, int64_t image, S& s) const {
    const int64_t first = plan.first + image * result_steps().image;
    s.channels = plan.channels;
    if (out_.is_float) {
      s.reals = round.results + first;
      s.real_range = {op_.low, op_.high};
    } else {
      s.codes = target(places_, op_.output, round) + first;
      s.code_range = code_range();
      s.bounded = packed_.bounded;
    }
  }

  void run_chunk(const Round& round, const SlabPlan& plan, const Chunk& chunk) const {
    integer::Slab s = slab_of(round, plan, chunk);
    s.to = places_of(round).to;
    set_result(round, plan, 0, s);
    set_offsets(round, plan, s);
    multiply(s, plan, places_of(round).start);
  }

  // Of weights past int8: the sums of the windows, which a filter of ones makes.
  void set_offsets(const Round& round, const SlabPlan& plan, integer::Slab& s) const {
    if (!is_wide()) return;
    constexpr int32_t kZeros[kLanes] = {};
    int32_t* window = round.scratch + first_sum() + pooled_sums();
    integer::Slab ones = s;
    ones.weights = packed_.ones.data(), ones.start = kZeros;
    ones.vectors = ones.channels = 1;
    ones.codes = nullptr, ones.reals = nullptr, ones.sums = window;
    body_.multiply(ones);
    s.window = window, s.offset = packed_.offset.data() + plan.lanes;
  }

  // One row of the pooled result, or where windows share rows, one image.
  void run_pooled(const Round& round, const SlabPlan& plan, int64_t chunk,
                  const Chunk& rows) const {
    const int32_t height = out_.shape.height;
    integer::PooledSlab p{};
    p.first = overlaps_ ? 0 : static_cast<int32_t>(chunk % height);
    p.last = overlaps_ ? height : p.first + 1;
    p.first_row = static_cast<int32_t>(rows.first / shape_.width % shape_.height);
    p.sums = round.scratch + first_sum(), p.flip = packed_.flip.data() + plan.lanes;
    sum_rows(round, plan, rows);
    p.multiplier = packed_.multiplier.data() + plan.lanes;
    p.height = shape_.height, p.width = shape_.width, p.out_width = out_.shape.width;
    p.pool = op_.pool, p.vectors = plan.vectors, p.to = result_steps();
    set_result(round, plan, overlaps_ ? chunk : chunk / height, p);
    body_.finish_pooled(p);
  }

  void sum_rows(const Round& round, const SlabPlan& plan, const Chunk& rows) const {
    integer::Slab s = slab_of(round, plan, rows);
    s.channels = plan.vectors * kLanes;
    s.sums = round.scratch + first_sum();
    set_offsets(round, plan, s);
    multiply(s, plan, places_of(round).start);
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

  void multiply(const integer::Slab& slab, const SlabPlan& plan,
                const int64_t* start_of) const override {
    integer::BitSlab b{slab, bits_.shift.data() + plan.lanes, start_of};
    b.slab.start = bits_.start.data() + plan.lanes;
    body().multiply_bits(b);
  }
  int64_t start_of(int64_t y, int64_t x) const override {
    return bits_.row_start[y] + bits_.column_start[x];
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
