#include "kernels/epilogue.h"

#include <limits>

#include "kernels/channel_tiles.h"

namespace halftone::kernels {
namespace {

using quant_math::Channel;
using quant_math::Pass;

// A Channels list as arrays, repeated to the tile's width.
struct Constants {
  Constants(const ChannelTiles& tiles, const Channels& channels) {
    for (int64_t j = 0; j < tiles.width; ++j) {
      const Channel& c = channels[j % tiles.channels];
      keep.push_back(c.keep);
      bias.push_back(c.bias);
      multiplier.push_back(c.multiplier);
    }
  }
  std::vector<int32_t> keep, bias;
  std::vector<float> multiplier;
};

ChannelTiles tiles_of(const Tensor& acc) { return ChannelTiles(acc.numel(), acc.dim(-1)); }

struct Partial {
  explicit Partial(int64_t width)
      : sum(width),
        squares(width),
        low(width, std::numeric_limits<int32_t>::max()),
        high(width, std::numeric_limits<int32_t>::min()) {}
  std::vector<int64_t> sum;
  std::vector<int64_t> squares;
  std::vector<int32_t> low, high;
  std::vector<__int128> wide;  // instead of squares, where they do not fit
};

void add_chunk(const ChannelTiles& tiles, const int32_t* acc, int64_t begin, int64_t end,
               Partial& p) {
  int64_t *sum = p.sum.data(), *squares = p.squares.data();
  int32_t *low = p.low.data(), *high = p.high.data();
  for_elements(tiles, begin, end, [=](int64_t i, int64_t j) {
    const int64_t a = acc[i];
    sum[j] += a;
    squares[j] += a * a;
  });
  for_elements(tiles, begin, end, [=](int64_t i, int64_t j) {
    low[j] = std::min(low[j], acc[i]);
    high[j] = std::max(high[j], acc[i]);
  });
}

void add_wide_chunk(const ChannelTiles& tiles, const int32_t* acc, int64_t begin, int64_t end,
                    Partial& p) {
  p.wide.assign(tiles.width, 0);
  for_elements(tiles, begin, end, [&](int64_t i, int64_t j) {
    p.sum[j] += acc[i];
    p.wide[j] += static_cast<__int128>(acc[i]) * acc[i];
    p.low[j] = std::min(p.low[j], acc[i]);
    p.high[j] = std::max(p.high[j], acc[i]);
  });
}

void merge(const ChannelTiles& tiles, const Partial& p, AccumulatorStatistics& out) {
  for (int64_t j = 0; j < tiles.width; ++j) {
    const int64_t c = j % tiles.channels;
    out.sum[c] += p.sum[j];
    out.sum_squares[c] += p.wide.empty() ? static_cast<__int128>(p.squares[j]) : p.wide[j];
    out.low[c] = std::min(out.low[c], p.low[j]);
    out.high[c] = std::max(out.high[c], p.high[j]);
  }
}

}  // namespace

double AccumulatorStatistics::variance(int64_t c) const {
  // count^2 times the variance, an integer: count < 2^32 and |acc| < 2^30 keep it below 2^125.
  const __int128 scaled =
      sum_squares[c] * count - static_cast<__int128>(sum[c]) * static_cast<__int128>(sum[c]);
  return static_cast<double>(scaled) / (static_cast<double>(count) * static_cast<double>(count));
}

AccumulatorStatistics accumulator_statistics(const Tensor& acc, int64_t bound) {
  const ChannelTiles tiles = tiles_of(acc);
  if (acc.numel() == 0) {
    throw HALFTONE_ERROR("accumulator_statistics")
        .expected("at least one sample")
        .found("an empty batch");
  }
  AccumulatorStatistics out;
  out.count = acc.numel() / tiles.channels;
  out.sum.assign(tiles.channels, 0);
  out.sum_squares.assign(tiles.channels, 0);
  out.low.assign(tiles.channels, std::numeric_limits<int32_t>::max());
  out.high.assign(tiles.channels, std::numeric_limits<int32_t>::min());
  // A chunk adds at most 2^15 squares to one column: they fit 63 bits while |acc| < 2^24.
  const bool narrow = bound < (int64_t{1} << 24);
  std::vector<Partial> partials(tiles.chunks, Partial(tiles.width));
  const int32_t* values = acc.data<int32_t>();
  tiles.for_chunks(acc.context(), [&](int64_t k, int64_t begin, int64_t end) {
    (narrow ? add_chunk : add_wide_chunk)(tiles, values, begin, end, partials[k]);
  });
  for (const Partial& p : partials) merge(tiles, p, out);
  return out;
}

void epilogue_to_codes(const Tensor& acc, const Channels& channels, const CodeRange& range,
                       Tensor& codes) {
  const ChannelTiles tiles = tiles_of(acc);
  const Constants constants(tiles, channels);
  const int32_t *in = acc.data<int32_t>(), *keep = constants.keep.data(),
                *bias = constants.bias.data();
  const float* multiplier = constants.multiplier.data();
  uint8_t* out = codes.data<uint8_t>();
  const CodeRange r = range;
  tiles.for_chunks(acc.context(), [=](int64_t, int64_t begin, int64_t end) {
    for_elements(tiles, begin, end, [=](int64_t i, int64_t j) {
      const Channel c{keep[j], bias[j], multiplier[j]};
      out[i] = static_cast<uint8_t>(quant_math::epilogue(in[i], c, r.low, r.high, r.zero_point));
    });
  });
}

void epilogue_to_float(const Tensor& acc, const Channels& channels, float low, float high,
                       Tensor& y) {
  const ChannelTiles tiles = tiles_of(acc);
  const Constants constants(tiles, channels);
  const int32_t *in = acc.data<int32_t>(), *keep = constants.keep.data(),
                *bias = constants.bias.data();
  const float* multiplier = constants.multiplier.data();
  float* out = y.data<float>();
  tiles.for_chunks(acc.context(), [=](int64_t, int64_t begin, int64_t end) {
    for_elements(tiles, begin, end, [=](int64_t i, int64_t j) {
      out[i] =
          quant_math::epilogue_float(in[i], Channel{keep[j], bias[j], multiplier[j]}, low, high);
    });
  });
}

namespace {

// Operands of the backward's sums, and the rows of sums of one chunk: g, centred g, scale, offset.
struct SumOperands {
  const float* up;
  const int32_t *acc, *keep, *bias;
  const float *multiplier, *mid;
};
constexpr int64_t kSumRows = 4;

void add_gradients(const ChannelTiles& tiles, const SumOperands& o, const Pass& p, int64_t begin,
                   int64_t end, float* sum) {
  float* centred = sum + tiles.width;
  for_elements(tiles, begin, end, [=](int64_t i, int64_t j) {
    const float t = quant_math::scaled(o.acc[i], o.keep[j], o.bias[j], o.multiplier[j]);
    const float g = quant_math::passes(t, p) ? o.up[i] : 0.0f;
    sum[j] += g;
    centred[j] += g * (static_cast<float>(o.acc[i]) - o.mid[j]);
  });
}

void add_learned(const ChannelTiles& tiles, const SumOperands& o, LearnedOutput learned,
                 int64_t begin, int64_t end, float* sum) {
  float *scale = sum + 2 * tiles.width, *offset = sum + 3 * tiles.width;
  learned.rule.scale = 1.0f;
  for_elements(tiles, begin, end, [=](int64_t i, int64_t j) {
    const float t = quant_math::scaled(o.acc[i], o.keep[j], o.bias[j], o.multiplier[j]);
    const float v = quant_math::clamp_nan_low(t, learned.act_low, learned.act_high);
    const quant_math::LsqShare share =
        quant_math::lsq_share(v, learned.rule, quant_math::LsqEdge::kPaper);
    scale[j] += o.up[i] * share.scale;
    offset[j] += o.up[i] * share.offset;
  });
}

}  // namespace

GradientSums epilogue_backward_sums(const Tensor& dy, const Tensor& acc, const Channels& channels,
                                    const Pass& pass, const std::vector<float>& centre,
                                    const LearnedOutput* learned) {
  const ChannelTiles tiles = tiles_of(acc);
  const Constants constants(tiles, channels);
  const std::vector<float> centres = tiles.repeat(centre);
  const SumOperands o{dy.data<float>(),      acc.data<int32_t>(),         constants.keep.data(),
                      constants.bias.data(), constants.multiplier.data(), centres.data()};
  // Float within a chunk (at most 512 rows), double across chunks, in order.
  const int64_t width = tiles.width;
  std::vector<float> sums(tiles.chunks * width * kSumRows);
  tiles.for_chunks(acc.context(), [&](int64_t k, int64_t begin, int64_t end) {
    float* sum = &sums[k * width * kSumRows];
    add_gradients(tiles, o, pass, begin, end, sum);
    if (learned != nullptr) add_learned(tiles, o, *learned, begin, end, sum);
  });
  GradientSums out{std::vector<double>(tiles.channels), std::vector<double>(tiles.channels)};
  for (int64_t k = 0; k < tiles.chunks; ++k) {
    const float* sum = &sums[k * width * kSumRows];
    for (int64_t j = 0; j < width; ++j) {
      out.sum[j % tiles.channels] += sum[j];
      out.sum_centred[j % tiles.channels] += sum[width + j];
      out.scale += sum[2 * width + j];
      out.offset += sum[3 * width + j];
    }
  }
  return out;
}

void epilogue_backward_apply(const Tensor& dy, const Tensor& acc, const Channels& channels,
                             const Pass& pass, const GradientCoefficients& coefficients,
                             Tensor& dacc) {
  const ChannelTiles tiles = tiles_of(acc);
  const Constants constants(tiles, channels);
  const std::vector<float> as = tiles.repeat(coefficients.a), bs = tiles.repeat(coefficients.b);
  const std::vector<float> ds = tiles.repeat(coefficients.d),
                           centres = tiles.repeat(coefficients.centre);
  const int32_t *in = acc.data<int32_t>(), *keep = constants.keep.data(),
                *bias = constants.bias.data();
  const float *multiplier = constants.multiplier.data(), *up = dy.data<float>();
  const float *a = as.data(), *b = bs.data(), *d = ds.data(), *mid = centres.data();
  float* out = dacc.data<float>();
  const Pass p = pass;
  tiles.for_chunks(acc.context(), [=](int64_t, int64_t begin, int64_t end) {
    for_elements(tiles, begin, end, [=](int64_t i, int64_t j) {
      const float t = quant_math::scaled(in[i], keep[j], bias[j], multiplier[j]);
      const float g = quant_math::passes(t, p) ? up[i] : 0.0f;
      out[i] = a[j] * g + b[j] * (static_cast<float>(in[i]) - mid[j]) + d[j];
    });
  });
}

}  // namespace halftone::kernels
