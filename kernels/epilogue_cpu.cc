#include "kernels/epilogue.h"

#include <limits>

#include "kernels/channel_tiles.h"
#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/epilogue_bodies.h"
#include "kernels/integer/chain_math.h"

namespace halftone::kernels {
namespace {

using quant_math::Channel;
using quant_math::Pass;

const EpilogueBodies& bodies() {
  const EpilogueBodies* wide = epilogue_bodies_avx512();
  return wide != nullptr ? *wide : epilogue_bodies_avx2();
}

ChannelTiles tiles_of(const Tensor& acc) { return ChannelTiles(acc.numel(), acc.dim(-1)); }

// A Channels list as arrays, repeated to the tile's width.
struct Constants {
  Constants(const ChannelTiles& tiles, const Channels& channels)
      : keep(tiles.width), bias(tiles.width), multiplier(tiles.width) {
    tiles.for_columns([&](int64_t c, int64_t j) {
      keep[j] = channels[c].keep;
      bias[j] = channels[c].bias;
      multiplier[j] = channels[c].multiplier;
    });
  }
  std::vector<int32_t> keep, bias;
  std::vector<float> multiplier;
};

// body(chunk, block) for every chunk of acc.
template <class Body>
void for_blocks(const ChannelTiles& tiles, const Tensor& acc, const Channels& channels, Body body) {
  const Constants constants(tiles, channels);
  EpilogueBlock shared{};
  shared.width = tiles.width;
  shared.acc = acc.data<int32_t>();
  shared.keep = constants.keep.data();
  shared.bias = constants.bias.data();
  shared.multiplier = constants.multiplier.data();
  tiles.for_chunks(acc.context(), [&](int64_t k, int64_t begin, int64_t end) {
    EpilogueBlock b = shared;
    b.begin = begin;
    b.end = end;
    body(k, b);
  });
}

// The statistics of every chunk, by column.
struct Partials {
  explicit Partials(const ChannelTiles& tiles)
      : sum(tiles.chunks * tiles.width),
        squares(sum.size()),
        low(sum.size(), std::numeric_limits<int32_t>::max()),
        high(sum.size(), std::numeric_limits<int32_t>::min()) {}
  std::vector<int64_t> sum, squares;
  std::vector<int32_t> low, high;
};

AccumulatorStatistics merge(const ChannelTiles& tiles, const Partials& p) {
  AccumulatorStatistics out;
  out.count = tiles.numel / tiles.channels;
  out.sum.assign(tiles.channels, 0);
  out.sum_squares.assign(tiles.channels, 0);
  out.low.assign(tiles.channels, std::numeric_limits<int32_t>::max());
  out.high.assign(tiles.channels, std::numeric_limits<int32_t>::min());
  for (int64_t k = 0; k < tiles.chunks; ++k) {
    const int64_t at = k * tiles.width;
    tiles.for_columns([&](int64_t c, int64_t j) {
      out.sum[c] += p.sum[at + j];
      out.sum_squares[c] += p.squares[at + j];
      out.low[c] = std::min(out.low[c], p.low[at + j]);
      out.high[c] = std::max(out.high[c], p.high[at + j]);
    });
  }
  return out;
}

void check_not_empty(const Tensor& acc) {
  if (acc.numel() > 0) return;
  throw HALFTONE_ERROR("accumulator_statistics")
      .expected("at least one sample")
      .found("an empty batch");
}

AccumulatorStatistics statistics_of(const Tensor& acc, int32_t* values, bool floats,
                                    int64_t bound) {
  // Rows whose squares fit 63 bits together.
  const int64_t square = std::max<int64_t>(1, bound) * std::max<int64_t>(1, bound);
  const ChannelTiles tiles(acc.numel(), acc.dim(-1), INT64_MAX / square);
  Partials partials(tiles);
  tiles.for_chunks(acc.context(), [&](int64_t k, int64_t begin, int64_t end) {
    const int64_t at = k * tiles.width;
    bodies().statistics({begin, end, tiles.width, values, floats, &partials.sum[at],
                         &partials.squares[at], &partials.low[at], &partials.high[at]});
  });
  return merge(tiles, partials);
}

}  // namespace

double AccumulatorStatistics::variance(int64_t c) const {
  return quant_math::accumulator_variance(count, sum[c], sum_squares[c]);
}

AccumulatorStatistics accumulator_statistics(const Tensor& acc, int64_t bound) {
  check_not_empty(acc);
  HALFTONE_ON_DEVICE(accumulator_statistics, acc, acc, bound);
  // Only read: they are integers already.
  return statistics_of(acc, const_cast<int32_t*>(acc.data<int32_t>()), false, bound);
}

AccumulatorStatistics to_accumulators(Tensor& acc, int64_t bound) {
  check_not_empty(acc);
  return statistics_of(acc, acc.data<int32_t>(), true, bound);
}

void epilogue_to_codes(const Tensor& acc, const Channels& channels, const CodeRange& range,
                       Tensor& codes) {
  check_shape("epilogue_to_codes", "codes", codes, acc.shape());
  HALFTONE_ON_DEVICE(epilogue_to_codes, acc, acc, channels, range, codes);
  EpilogueOutput out{range.low, range.high, range.zero_point, codes.data<uint8_t>(), nullptr};
  for_blocks(tiles_of(acc), acc, channels,
             [&](int64_t, const EpilogueBlock& b) { bodies().to_codes(b, out); });
}

void epilogue_to_float(const Tensor& acc, const Channels& channels, float low, float high,
                       Tensor& y) {
  check_shape("epilogue_to_float", "result", y, acc.shape());
  HALFTONE_ON_DEVICE(epilogue_to_float, acc, acc, channels, low, high, y);
  EpilogueOutput out{low, high, 0, nullptr, y.data<float>()};
  for_blocks(tiles_of(acc), acc, channels,
             [&](int64_t, const EpilogueBlock& b) { bodies().to_float(b, out); });
}

GradientSums epilogue_backward_sums(const Tensor& dy, const Tensor& acc, const Channels& channels,
                                    const Pass& pass, const std::vector<float>& centre,
                                    const LearnedOutput* learned) {
  check_shape("epilogue_backward", "gradient", dy, acc.shape());
  HALFTONE_ON_DEVICE(epilogue_backward_sums, acc, dy, acc, channels, pass, centre, learned);
  const ChannelTiles tiles = tiles_of(acc);
  const std::vector<float> centres = tiles.repeat(centre);
  EpilogueSums shared{};
  shared.dy = dy.data<float>();
  shared.centre = centres.data();
  shared.pass = pass;
  if (learned != nullptr) {
    shared.act_low = learned->act_low;
    shared.act_high = learned->act_high;
    shared.learned = learned->rule;
  }
  // Float within a chunk, double across chunks, in order. Of a learned grid double throughout, as
  // in lsq_backward.
  const int64_t width = tiles.width, size = 2 * width;
  std::vector<float> sums(tiles.chunks * size);
  std::vector<double> learned_sums(learned != nullptr ? sums.size() : 0);
  for_blocks(tiles, acc, channels, [&](int64_t k, const EpilogueBlock& b) {
    EpilogueSums s = shared;
    s.sum = &sums[k * size];
    s.centred = s.sum + width;
    s.scale = learned != nullptr ? &learned_sums[k * size] : nullptr;
    s.offset = learned != nullptr ? s.scale + width : nullptr;
    bodies().backward_sums(b, s);
  });
  GradientSums out{std::vector<double>(tiles.channels), std::vector<double>(tiles.channels)};
  for (int64_t k = 0; k < tiles.chunks; ++k) {
    const float* sum = &sums[k * size];
    tiles.for_columns([&](int64_t c, int64_t j) {
      out.sum[c] += sum[j];
      out.sum_centred[c] += sum[width + j];
    });
    for (int64_t j = 0; learned != nullptr && j < width; ++j) {
      out.scale += learned_sums[k * size + j];
      out.offset += learned_sums[k * size + width + j];
    }
  }
  return out;
}

void epilogue_backward_apply(const Tensor& dy, const Tensor& acc, const Channels& channels,
                             const Pass& pass, const GradientCoefficients& coefficients,
                             Tensor& dacc) {
  check_shape("epilogue_backward", "gradient", dy, acc.shape());
  check_shape("epilogue_backward", "result", dacc, acc.shape());
  HALFTONE_ON_DEVICE(epilogue_backward_apply, acc, dy, acc, channels, pass, coefficients, dacc);
  const ChannelTiles tiles = tiles_of(acc);
  const std::vector<float> a = tiles.repeat(coefficients.a), b = tiles.repeat(coefficients.b);
  const std::vector<float> d = tiles.repeat(coefficients.d),
                           centre = tiles.repeat(coefficients.centre);
  const EpilogueGradient gradient{dy.data<float>(), centre.data(), a.data(),          b.data(),
                                  d.data(),         pass,          dacc.data<float>()};
  for_blocks(tiles, acc, channels, [&](int64_t, const EpilogueBlock& block) {
    bodies().backward_apply(block, gradient);
  });
}

}  // namespace halftone::kernels
