// The ops of epilogue_cuda.h, for any launcher.
#pragma once

#include "kernels/cuda/each.h"
#include "kernels/cuda/ops.h"
#include "kernels/epilogue_cuda.h"

namespace halftone::kernels::cuda {

struct EpilogueOp : MapOp<int32_t, uint8_t> {
  using Constants = quant_math::Channel;
  HALFTONE_HD Constants constants(int64_t channel) const { return channels[channel]; }
  HALFTONE_HD void apply(int j, const Input& in, const Constants& c, Output& out, Nothing&) const {
    const bool known = grid == nullptr;
    const float least = known ? low : grid->low, most = known ? high : grid->high;
    const int32_t z = known ? zero_point : grid->zero_point;
    out.y.v[j] = static_cast<uint8_t>(quant_math::epilogue(in.x.v[j], c, least, most, z));
  }
  const quant_math::Channel* channels;
  float low, high;
  int32_t zero_point;
  const quant_math::OutputGrid* grid;
};

struct EpilogueFloatOp : MapOp<int32_t, float> {
  using Constants = quant_math::Channel;
  HALFTONE_HD Constants constants(int64_t channel) const { return channels[channel]; }
  HALFTONE_HD void apply(int j, const Input& in, const Constants& c, Output& out, Nothing&) const {
    out.y.v[j] = quant_math::epilogue_float(in.x.v[j], c, low, high);
  }
  const quant_math::Channel* channels;
  float low, high;
};

template <class Op, class Launcher, class Args>
void launch_epilogue_op(Launcher& launcher, Op op, const Args& a) {
  op.x = a.acc;
  op.channels = a.constants;
  op.low = a.low;
  op.high = a.high;
  pass<Op, Op>(launcher, {a.rows, a.channels, 1}, [&](Op& filled) { filled = op; });
}

template <class Launcher>
void launch_epilogue_to_codes(Launcher& launcher, const EpilogueArgs& a) {
  EpilogueOp op{};
  op.y = a.codes;
  op.zero_point = a.zero_point;
  op.grid = a.grid;
  launch_epilogue_op(launcher, op, a);
}

template <class Launcher>
void launch_epilogue_to_float(Launcher& launcher, const EpilogueFloatArgs& a) {
  EpilogueFloatOp op{};
  op.y = a.y;
  launch_epilogue_op(launcher, op, a);
}

// ---- sums of products to accumulators, and their statistics ----

// Modulo 2^32 on the way: the sum of all terms fits.
template <bool kAdds>
struct ToAccumulatorsOp {
  static constexpr int kWidth = 4, kUnroll = 2;
  using Constants = Nothing;
  using Tile = Nothing;
  using Total = Nothing;
  struct Input {
    Pack<float, 4> x;
    Pack<int32_t, 4> before;
  };
  struct Output {
    Pack<int32_t, 4> y;
  };

  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  template <class Place>
  HALFTONE_HD void load(const Place& at, Input& in) const {
    at.load(x, in.x);
    if constexpr (kAdds) at.load(y, in.before);
  }
  HALFTONE_HD void apply(int j, const Input& in, const Nothing&, Output& out, Nothing&) const {
    const uint32_t before = kAdds ? static_cast<uint32_t>(in.before.v[j]) : 0u;
    const uint32_t term = static_cast<uint32_t>(static_cast<int32_t>(in.x.v[j]));
    out.y.v[j] = static_cast<int32_t>(before + static_cast<uint32_t>(factor) * term);
  }
  template <class Place>
  HALFTONE_HD void store(const Place& at, const Output& out) const {
    at.store(y, out.y);
  }
  auto arrays() const { return ArrayList<2>{{{x, 4}, {y, 4}}}; }

  int32_t factor;
  const float* x;
  int32_t* y;
};

template <class Launcher>
void launch_to_accumulators(Launcher& launcher, const ToAccumulatorsArgs& a) {
  if (a.adds) return pass_flat(launcher, ToAccumulatorsOp<true>{a.factor, a.x, a.y}, a.numel);
  pass_flat(launcher, ToAccumulatorsOp<false>{a.factor, a.x, a.y}, a.numel);
}

struct ExactTotal : AccumulatorTotal {
  HALFTONE_HD void add_square(uint64_t square) {
    squares += square;
    carries += squares < square ? 1 : 0;
  }
  HALFTONE_HD void add(int32_t acc) {
    const int64_t wide = acc;
    sum += wide;
    add_square(static_cast<uint64_t>(wide * wide));
    low = acc < low ? acc : low;
    high = acc > high ? acc : high;
  }
  HALFTONE_HD void take(const ExactTotal& tile) { merge(tile); }
  HALFTONE_HD void merge(const ExactTotal& other) {
    sum += other.sum;
    carries += other.carries;
    add_square(other.squares);
    low = other.low < low ? other.low : low;
    high = other.high > high ? other.high : high;
  }
};

struct AccumulatorStatisticsOp : ReduceOp<int32_t> {
  using Constants = Nothing;
  using Tile = ExactTotal;
  using Total = ExactTotal;
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  HALFTONE_HD void apply(int j, const Input& in, const Nothing&, Output&, Total& total) const {
    total.add(in.x.v[j]);
  }
  HALFTONE_HD void finish(int64_t channel, const Total& total) const { totals[channel] = total; }
  AccumulatorTotal* totals;
};

template <class Launcher>
void launch_accumulator_statistics(Launcher& launcher, const AccumulatorStatisticsArgs& a) {
  using Op = AccumulatorStatisticsOp;
  pass<Op, Op>(launcher, {a.rows, a.channels, 1}, [&](Op& op) {
    op.x = a.acc;
    op.totals = a.totals;
  });
}

// ---- backward ----

// The gradient dy of a result, and the accumulators it came from.
struct EpilogueInputs {
  static constexpr int kWidth = 4, kUnroll = 4;
  struct Input {
    Pack<float, kWidth> dy;
    Pack<int32_t, kWidth> acc;
  };
  template <class Place>
  HALFTONE_HD void load(const Place& at, Input& in) const {
    at.load(dy, in.dy);
    at.load(acc, in.acc);
  }
  HALFTONE_HD float scaled(int j, const Input& in, const quant_math::Channel& c) const {
    return quant_math::scaled(in.acc.v[j], c.keep, c.bias, c.multiplier);
  }
  HALFTONE_HD bool passes(float t) const {
    return quant_math::passes(t, grid != nullptr ? grid->pass : pass_rule);
  }
  const float* dy;
  const int32_t* acc;
  const quant_math::Channel* channels;
  quant_math::Pass pass_rule;
  const quant_math::OutputGrid* grid;
};

template <class Op, class Args>
void set_epilogue_inputs(Op& op, const Args& a) {
  op.dy = a.dy, op.acc = a.acc;
  op.channels = a.constants, op.pass_rule = a.pass;
  op.grid = a.grid;
}

template <bool kLearned>
struct EpilogueSumsOp : EpilogueInputs {
  static constexpr int kSums = kLearned ? 4 : 2;
  using Tile = SumTile<kSums>;
  using Total = SumTotal<kSums>;
  struct Output {};
  struct Constants {
    quant_math::Channel channel;
    float centre;
  };
  HALFTONE_HD Constants constants(int64_t c) const { return {channels[c], centre[c]}; }
  template <class Place>
  HALFTONE_HD void store(const Place&, const Output&) const {}
  auto arrays() const { return ArrayList<2>{{{dy, 4}, {acc, 4}}}; }

  HALFTONE_HD void apply(int j, const Input& in, const Constants& c, Output&, Tile& tile) const {
    const float t = scaled(j, in, c.channel), up = in.dy.v[j];
    const float g = passes(t) ? up : 0.0f;
    tile.sum[0] += g;
    tile.sum[1] += g * (static_cast<float>(in.acc.v[j]) - c.centre);
    if constexpr (kLearned) {
      const bool known = grid == nullptr;
      const float v = quant_math::clamp_nan_low(t, known ? act_low : grid->act_low,
                                                known ? act_high : grid->act_high);
      const auto share =
          quant_math::lsq_share(v, known ? rule : grid->rule, quant_math::LsqEdge::kPaper);
      tile.sum[2] += up * share.scale;
      tile.sum[3] += up * share.offset;
    }
  }
  HALFTONE_HD void finish(int64_t channel, const Total& total) const {
    for (int k = 0; k < kSums; ++k) sums[channel * kSums + k] = total.sum[k];
  }
  const float* centre;
  float act_low, act_high;
  quant_math::LsqRule rule;
  double* sums;
};

template <bool kLearned, class Launcher>
void launch_epilogue_sums(Launcher& launcher, const EpilogueSumsArgs& a) {
  using Op = EpilogueSumsOp<kLearned>;
  pass<Op, Op>(launcher, {a.rows, a.channels, 1}, [&](Op& op) {
    set_epilogue_inputs(op, a);
    op.centre = a.centre, op.sums = a.sums;
    op.act_low = a.act_low, op.act_high = a.act_high;
    op.rule = a.rule;
    op.rule.scale = 1.0f;  // t is in steps already
  });
}

template <class Launcher>
void launch_epilogue_backward_sums(Launcher& launcher, const EpilogueSumsArgs& a) {
  a.learned ? launch_epilogue_sums<true>(launcher, a) : launch_epilogue_sums<false>(launcher, a);
}

struct EpilogueApplyOp : EpilogueInputs {
  using Tile = Nothing;
  using Total = Nothing;
  struct Output {
    Pack<float, kWidth> dacc;
  };
  struct Constants {
    quant_math::Channel channel;
    EpilogueSlope slope;
  };
  HALFTONE_HD Constants constants(int64_t c) const { return {channels[c], slopes[c]}; }
  template <class Place>
  HALFTONE_HD void store(const Place& at, const Output& out) const {
    at.store(dacc, out.dacc);
  }
  auto arrays() const { return ArrayList<3>{{{dy, 4}, {acc, 4}, {dacc, 4}}}; }

  HALFTONE_HD void apply(int j, const Input& in, const Constants& c, Output& out, Nothing&) const {
    const float t = scaled(j, in, c.channel);
    const float g = passes(t) ? in.dy.v[j] : 0.0f;
    const EpilogueSlope& k = c.slope;
    out.dacc.v[j] = k.a * g + k.b * (static_cast<float>(in.acc.v[j]) - k.centre) + k.d;
  }
  const EpilogueSlope* slopes;
  float* dacc;
};

template <class Launcher>
void launch_epilogue_backward_apply(Launcher& launcher, const EpilogueApplyArgs& a) {
  using Op = EpilogueApplyOp;
  pass<Op, Op>(launcher, {a.rows, a.channels, 1}, [&](Op& op) {
    set_epilogue_inputs(op, a);
    op.slopes = a.slopes, op.dacc = a.dacc;
  });
}

}  // namespace halftone::kernels::cuda
