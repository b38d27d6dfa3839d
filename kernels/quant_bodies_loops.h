// The loops of quant_bodies.h over the vectors of quant_vec.h. Included once per instruction set,
// below its #pragma GCC target; the rules of quant_math.h too, so that they are compiled for it.
#pragma once

#include "kernels/integer/binary_math.h"
#include "kernels/integer/dorefa_math.h"
#include "kernels/integer/lsq_math.h"
#include "kernels/quant_vec.h"

namespace halftone::kernels::HALFTONE_QUANT_NAMESPACE {

using quant_math::LsqEdge;
using quant_math::select;  // of floats
using quant_math::SignGradient;

constexpr int64_t kAhead = 512;  // floats; the processor's own prefetcher stops at page ends

// Loads, constants and stores of one float or sixteen. kColumns: constants differ by column j.
template <class V, bool kColumns, bool kStream>
struct Access;

template <bool kColumns, bool kStream>
struct Access<float, kColumns, kStream> {
  static float load(const float* p) { return *p; }
  static float constant(const float* p, int64_t j) { return p[kColumns ? j : 0]; }
  static void store(float* p, float v) { *p = v; }
};

template <bool kColumns, bool kStream>
struct Access<Vec, kColumns, kStream> {
  static Vec load(const float* p) {
    if (kStream) _mm_prefetch(reinterpret_cast<const char*>(p + kAhead), _MM_HINT_T0);
    return Vec::load(p);
  }
  static Vec constant(const float* p, int64_t j) { return kColumns ? Vec::load(p + j) : Vec(*p); }
  static void store(float* p, Vec v) { kStream ? v.stream(p) : v.store(p); }
};

struct FakeQuantize {
  template <class A, class V>
  static void apply(const QuantBlock& b, int64_t i, int64_t j) {
    const V x = A::load(b.x + i), scale = A::constant(b.scale, j);
    A::store(b.out + i,
             quant_math::fake_quantize(x, scale, A::constant(b.low, j), A::constant(b.high, j)));
  }
};

struct FakeQuantizeNni {
  template <class A, class V>
  static void apply(const QuantBlock& b, int64_t i, int64_t j) {
    const V x = A::load(b.x + i), scale = A::constant(b.scale, j);
    A::store(b.out + i,
             quant_math::fake_quantize_nni(x, scale, A::constant(b.zero_point, j),
                                           A::constant(b.low, j), A::constant(b.high, j)));
  }
};

struct SteGradient {
  template <class A, class V>
  static void apply(const QuantBlock& b, int64_t i, int64_t j) {
    const V dy = A::load(b.dy + i), x = A::load(b.x + i), scale = A::constant(b.scale, j);
    A::store(b.out + i,
             quant_math::ste_gradient(dy, x, scale, A::constant(b.low, j), A::constant(b.high, j)));
  }
};

struct SteGradientNni {
  template <class A, class V>
  static void apply(const QuantBlock& b, int64_t i, int64_t j) {
    const V dy = A::load(b.dy + i), x = A::load(b.x + i), scale = A::constant(b.scale, j);
    A::store(b.out + i,
             quant_math::ste_gradient_nni(dy, x, scale, A::constant(b.zero_point, j),
                                          A::constant(b.low, j), A::constant(b.high, j)));
  }
};

struct Sign {
  template <class A, class V>
  static void apply(const QuantBlock& b, int64_t i, int64_t) {
    A::store(b.out + i, quant_math::binary_sign(A::load(b.x + i)));
  }
};

template <SignGradient kRule>
struct SignBackward {
  template <class A, class V>
  static void apply(const QuantBlock& b, int64_t i, int64_t) {
    const V derivative = quant_math::sign_derivative(A::load(b.x + i), kRule);
    A::store(b.out + i, A::load(b.dy + i) * derivative);
  }
};

struct DorefaActivation {
  template <class A, class V>
  static void apply(const QuantBlock& b, int64_t i, int64_t) {
    A::store(b.out + i, quant_math::dorefa_activation(A::load(b.x + i), V(*b.scale)));
  }
};

struct DorefaActivationBackward {
  template <class A, class V>
  static void apply(const QuantBlock& b, int64_t i, int64_t) {
    const V dy = A::load(b.dy + i), x = A::load(b.x + i);
    A::store(b.out + i, quant_math::dorefa_activation_gradient(dy, x));
  }
};

// The rows of a block: tiles, or all of it; head and tail as single floats, so that the vectors
// between begin at multiples of 16 elements.
template <class Block, class Row>
inline void for_rows(const Block& b, Row row) {
  const int64_t length = b.period > 0 ? b.period : b.end - b.begin;
  for (int64_t at = b.begin; at < b.end; at += length) {
    const int64_t end = at + length < b.end ? at + length : b.end;
    const int64_t first = (at + kQuantLanes - 1) / kQuantLanes * kQuantLanes;
    const int64_t last = end / kQuantLanes * kQuantLanes;
    first < last ? row(at, first, last, end) : row(at, end, end, end);
  }
}

template <class Op, bool kColumns, bool kStream>
inline void elementwise_rows(const QuantBlock& block) {
  const QuantBlock b = block;  // a local: results cannot alias it
  using One = Access<float, kColumns, kStream>;
  using Many = Access<Vec, kColumns, kStream>;
  for_rows(b, [&](int64_t at, int64_t first, int64_t last, int64_t end) {
    int64_t i = at;
    for (; i < first; ++i) Op::template apply<One, float>(b, i, i - at);
    for (; i < last; i += kQuantLanes) Op::template apply<Many, Vec>(b, i, i - at);
    for (; i < end; ++i) Op::template apply<One, float>(b, i, i - at);
  });
}

// Writes past the cache are ordered before whatever the thread does next.
template <class Op>
void elementwise(const QuantBlock& b) {
  if (!b.stream) {
    (b.period > 0 ? elementwise_rows<Op, true, false> : elementwise_rows<Op, false, false>)(b);
    return;
  }
  (b.period > 0 ? elementwise_rows<Op, true, true> : elementwise_rows<Op, false, true>)(b);
  _mm_sfence();
}

// ---- LSQ ----

inline void add(double& sum, float x) { sum += static_cast<double>(x); }
inline void add(Sums& sum, Vec x) { sum.add(x); }

// dx of one float or sixteen, and what they add to the two sums.
template <LsqEdge kEdge, bool kPlus, class A, class V, class Sum>
inline void lsq_apply(const QuantBlock& b, int64_t i, int64_t j, Sum& ds, Sum& dbeta) {
  const V dy = A::load(b.dy + i), x = A::load(b.x + i);
  const quant_math::LsqRuleOf<V> rule{A::constant(b.scale, j), A::constant(b.low, j),
                                      A::constant(b.high, j), A::constant(b.below, j),
                                      A::constant(b.above, j)};
  const auto share = quant_math::lsq_share(x, rule, kEdge);
  add(ds, dy * share.scale);
  if (kPlus) add(dbeta, dy * share.offset);
  if (b.out != nullptr) A::store(b.out + i, select(share.pass, dy, V(0.0f)));
}

template <LsqEdge kEdge, bool kPlus, bool kColumns, bool kStream>
inline void lsq_rows(const QuantBlock& block) {
  const QuantBlock b = block;
  double none[kQuantLanes] = {};
  // Sums of element i: by column, or by lane.
  const auto one = [&](int64_t i, int64_t j) {
    const int64_t k = kColumns ? j : i % kQuantLanes;
    lsq_apply<kEdge, kPlus, Access<float, kColumns, kStream>, float>(b, i, j, b.ds[k],
                                                                     kPlus ? b.dbeta[k] : none[0]);
  };
  for_rows(b, [&](int64_t at, int64_t first, int64_t last, int64_t end) {
    int64_t i = at;
    for (; i < first; ++i) one(i, i - at);
    Sums ds = Sums::load(kColumns ? none : b.ds);
    Sums dbeta = Sums::load(kColumns || !kPlus ? none : b.dbeta);
    for (; i < last; i += kQuantLanes) {
      const int64_t j = i - at;
      if (kColumns) ds = Sums::load(b.ds + j);
      if (kColumns && kPlus) dbeta = Sums::load(b.dbeta + j);
      lsq_apply<kEdge, kPlus, Access<Vec, kColumns, kStream>, Vec>(b, i, j, ds, dbeta);
      if (kColumns) ds.store(b.ds + j);
      if (kColumns && kPlus) dbeta.store(b.dbeta + j);
    }
    if (!kColumns) ds.store(b.ds);
    if (!kColumns && kPlus) dbeta.store(b.dbeta);
    for (; i < end; ++i) one(i, i - at);
  });
}

template <LsqEdge kEdge, bool kPlus>
void lsq(const QuantBlock& b) {
  if (!b.stream) {
    (b.period > 0 ? lsq_rows<kEdge, kPlus, true, false> : lsq_rows<kEdge, kPlus, false, false>)(b);
    return;
  }
  (b.period > 0 ? lsq_rows<kEdge, kPlus, true, true> : lsq_rows<kEdge, kPlus, false, true>)(b);
  _mm_sfence();
}

// ---- ranges and moments: state of one element or sixteen, loaded from and stored to arrays ----

template <class V>
struct RangeState {
  V low, high, nan;
  void add(V x) {
    low = select(x < low, x, low);
    high = select(x > high, x, high);
    nan = select(x <= x, nan, x);  // NaN fails both comparisons above
  }
};

inline void keep(const ReduceBlock& b, int64_t k, const RangeState<float>& s) {
  b.low[k] = s.low, b.high[k] = s.high, b.nan[k] = s.nan;
}
inline void keep(const ReduceBlock& b, int64_t k, const RangeState<Vec>& s) {
  s.low.store(b.low + k), s.high.store(b.high + k), s.nan.store(b.nan + k);
}

struct RangeRule {
  static RangeState<float> load(const ReduceBlock& b, int64_t k, float) {
    return {b.low[k], b.high[k], b.nan[k]};
  }
  static RangeState<Vec> load(const ReduceBlock& b, int64_t k, Vec) {
    return {Vec::load(b.low + k), Vec::load(b.high + k), Vec::load(b.nan + k)};
  }
};

struct MomentState {
  Sums sum, magnitudes, squares;
  void add(Vec x) {
    sum.add(x);
    magnitudes.add(select(x < Vec(0.0f), Vec(0.0f) - x, x));
    squares.add_square(x);
  }
};

struct OneMoment {
  double sum, magnitudes, squares;
  void add(float x) {
    const double v = static_cast<double>(x);
    sum += v;
    magnitudes += v < 0.0 ? -v : v;
    squares += v * v;
  }
};

inline void keep(const ReduceBlock& b, int64_t k, const MomentState& s) {
  s.sum.store(b.sum + k), s.magnitudes.store(b.sum_magnitudes + k),
      s.squares.store(b.sum_squares + k);
}
inline void keep(const ReduceBlock& b, int64_t k, const OneMoment& s) {
  b.sum[k] = s.sum, b.sum_magnitudes[k] = s.magnitudes, b.sum_squares[k] = s.squares;
}

struct MomentRule {
  static MomentState load(const ReduceBlock& b, int64_t k, Vec) {
    return {Sums::load(b.sum + k), Sums::load(b.sum_magnitudes + k), Sums::load(b.sum_squares + k)};
  }
  static OneMoment load(const ReduceBlock& b, int64_t k, float) {
    return {b.sum[k], b.sum_magnitudes[k], b.sum_squares[k]};
  }
};

template <class Rule, bool kColumns, bool kStream>
inline void reduce_rows(const ReduceBlock& block) {
  const ReduceBlock b = block;
  const auto one = [&](int64_t i, int64_t j) {
    const int64_t k = kColumns ? j : i % kQuantLanes;
    auto state = Rule::load(b, k, 0.0f);
    state.add(b.x[i]);
    keep(b, k, state);
  };
  for_rows(b, [&](int64_t at, int64_t first, int64_t last, int64_t end) {
    int64_t i = at;
    for (; i < first; ++i) one(i, i - at);
    if (kColumns) {
      for (; i < last; i += kQuantLanes) {
        auto state = Rule::load(b, i - at, Vec());
        state.add(Access<Vec, true, kStream>::load(b.x + i));
        keep(b, i - at, state);
      }
    } else if (i < last) {
      auto state = Rule::load(b, 0, Vec());
      for (; i < last; i += kQuantLanes) state.add(Access<Vec, false, kStream>::load(b.x + i));
      keep(b, 0, state);
    }
    for (; i < end; ++i) one(i, i - at);
  });
}

template <class Rule>
void reduce(const ReduceBlock& b) {
  if (b.period > 0) {
    (b.stream ? reduce_rows<Rule, true, true> : reduce_rows<Rule, true, false>)(b);
  } else {
    (b.stream ? reduce_rows<Rule, false, true> : reduce_rows<Rule, false, false>)(b);
  }
}

// A loop that the compiler vectorises.
inline void tanh_all(const float* __restrict w, int64_t count, float* __restrict t) {
  for (int64_t i = 0; i < count; ++i) t[i] = quant_math::dorefa_tanh(w[i]);
}

constexpr QuantBodies kBodies{elementwise<FakeQuantize>,
                              elementwise<FakeQuantizeNni>,
                              elementwise<SteGradient>,
                              elementwise<SteGradientNni>,
                              {lsq<LsqEdge::kInclusive, false>, lsq<LsqEdge::kPaper, false>},
                              {lsq<LsqEdge::kInclusive, true>, lsq<LsqEdge::kPaper, true>},
                              elementwise<Sign>,
                              {elementwise<SignBackward<SignGradient::kStraightThrough>>,
                               elementwise<SignBackward<SignGradient::kApproxSign>>},
                              elementwise<DorefaActivation>,
                              elementwise<DorefaActivationBackward>,
                              reduce<RangeRule>,
                              reduce<MomentRule>,
                              tanh_all};

}  // namespace halftone::kernels::HALFTONE_QUANT_NAMESPACE
