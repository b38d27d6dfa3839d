// The loops of epilogue_bodies.h, which the compiler vectorises. Included once per instruction set,
// below its #pragma GCC target, with HALFTONE_EPILOGUE_NAMESPACE defined.
#pragma once

#include "kernels/epilogue_bodies.h"

namespace halftone::kernels::HALFTONE_EPILOGUE_NAMESPACE {

// body(i, j): element i, which stands in column j.
template <class Block, class Body>
inline void for_elements(const Block& b, Body body) {
  const int64_t end = b.end, width = b.width;
  for (int64_t at = b.begin; at < end; at += width) {
    const int64_t n = end - at < width ? end - at : width;
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) body(at + j, j);
  }
}

// The same with two rows of tiles at once, so that what is kept per column is loaded and stored
// half as often: pair(i, k, j) where both are whole.
template <class Block, class Pair, class Body>
inline void for_pairs(Block b, Pair pair, Body body) {
  const int64_t width = b.width;
  for (; b.begin + 2 * width <= b.end; b.begin += 2 * width) {
    const int64_t at = b.begin;
#pragma GCC ivdep
    for (int64_t j = 0; j < width; ++j) pair(at + j, at + width + j, j);
  }
  for_elements(b, body);
}

// Lets the compiler know that both look at the same bytes.
using FloatBits = float __attribute__((may_alias));

inline void to_integers(int32_t* acc, int64_t begin, int64_t end) {
  const FloatBits* values = reinterpret_cast<const FloatBits*>(acc);
#pragma GCC ivdep
  for (int64_t i = begin; i < end; ++i) acc[i] = static_cast<int32_t>(values[i]);
}

inline int32_t least(int32_t a, int32_t b) { return a < b ? a : b; }
inline int32_t most(int32_t a, int32_t b) { return a > b ? a : b; }

inline void statistics(const StatisticsBlock& whole) {
  StatisticsBlock b = whole;
  const int64_t step = 4 * b.width;
  const int32_t* acc = b.acc;
  int64_t *sum = b.sum, *squares = b.squares;
  int32_t *low = b.low, *high = b.high;
  for (; b.begin < whole.end; b.begin += step) {
    b.end = whole.end - b.begin < step ? whole.end : b.begin + step;
    if (b.floats) to_integers(b.acc, b.begin, b.end);
    for_pairs(
        b,
        [=](int64_t i, int64_t k, int64_t j) {
          const int64_t x = acc[i], y = acc[k];
          sum[j] += x + y;
          squares[j] += x * x + y * y;
        },
        [=](int64_t i, int64_t j) {
          const int64_t x = acc[i];
          sum[j] += x;
          squares[j] += x * x;
        });
    for_pairs(
        b,
        [=](int64_t i, int64_t k, int64_t j) {
          low[j] = least(low[j], least(acc[i], acc[k]));
          high[j] = most(high[j], most(acc[i], acc[k]));
        },
        [=](int64_t i, int64_t j) {
          low[j] = least(low[j], acc[i]);
          high[j] = most(high[j], acc[i]);
        });
  }
}

inline void to_codes(const EpilogueBlock& b, const EpilogueOutput& output) {
  const EpilogueBlock o = b;
  const EpilogueOutput r = output;
  for_elements(o, [=](int64_t i, int64_t j) {
    const quant_math::Channel c{o.keep[j], o.bias[j], o.multiplier[j]};
    r.codes[i] =
        static_cast<uint8_t>(quant_math::epilogue(o.acc[i], c, r.low, r.high, r.zero_point));
  });
}

inline void to_float(const EpilogueBlock& b, const EpilogueOutput& output) {
  const EpilogueBlock o = b;
  const EpilogueOutput r = output;
  for_elements(o, [=](int64_t i, int64_t j) {
    const quant_math::Channel c{o.keep[j], o.bias[j], o.multiplier[j]};
    r.values[i] = quant_math::epilogue_float(o.acc[i], c, r.low, r.high);
  });
}

// What one element adds.
struct Shares {
  float sum, centred;
  double scale, offset;
};

template <bool kLearned>
inline Shares shares(const EpilogueBlock& b, const EpilogueSums& s, int64_t i, int64_t j) {
  const float t = quant_math::scaled(b.acc[i], b.keep[j], b.bias[j], b.multiplier[j]);
  const float up = s.dy[i];
  Shares out;
  out.sum = quant_math::passes(t, s.pass) ? up : 0.0f;
  out.centred = out.sum * (static_cast<float>(b.acc[i]) - s.centre[j]);
  if (!kLearned) return out;
  const float v = quant_math::clamp_nan_low(t, s.act_low, s.act_high);
  const quant_math::LsqRule rule{1.0f, s.learned.low, s.learned.high, s.learned.below,
                                 s.learned.above};  // t is in steps already
  const auto share = quant_math::lsq_share(v, rule, quant_math::LsqEdge::kPaper);
  out.scale = static_cast<double>(up) * static_cast<double>(share.scale);
  out.offset = static_cast<double>(up) * static_cast<double>(share.offset);
  return out;
}

template <bool kLearned>
inline void add_shares(const EpilogueBlock& block, const EpilogueSums& sums) {
  const EpilogueBlock b = block;
  const EpilogueSums s = sums;
  for_pairs(
      b,
      [=](int64_t i, int64_t k, int64_t j) {
        const Shares x = shares<kLearned>(b, s, i, j), y = shares<kLearned>(b, s, k, j);
        s.sum[j] += x.sum + y.sum;
        s.centred[j] += x.centred + y.centred;
        if (!kLearned) return;
        s.scale[j] += x.scale + y.scale;
        s.offset[j] += x.offset + y.offset;
      },
      [=](int64_t i, int64_t j) {
        const Shares x = shares<kLearned>(b, s, i, j);
        s.sum[j] += x.sum;
        s.centred[j] += x.centred;
        if (!kLearned) return;
        s.scale[j] += x.scale;
        s.offset[j] += x.offset;
      });
}

inline void backward_sums(const EpilogueBlock& b, const EpilogueSums& s) {
  (s.scale != nullptr ? add_shares<true> : add_shares<false>)(b, s);
}

inline void backward_apply(const EpilogueBlock& b, const EpilogueGradient& gradient) {
  const EpilogueBlock o = b;
  const EpilogueGradient k = gradient;
  for_elements(o, [=](int64_t i, int64_t j) {
    const float t = quant_math::scaled(o.acc[i], o.keep[j], o.bias[j], o.multiplier[j]);
    const float g = quant_math::passes(t, k.pass) ? k.dy[i] : 0.0f;
    k.out[i] = k.a[j] * g + k.b[j] * (static_cast<float>(o.acc[i]) - k.centre[j]) + k.d[j];
  });
}

constexpr EpilogueBodies kBodies{statistics, to_codes, to_float, backward_sums, backward_apply};

}  // namespace halftone::kernels::HALFTONE_EPILOGUE_NAMESPACE
