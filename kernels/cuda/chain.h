// The kernels of chain_cuda.h, for any launcher.
#pragma once

#include "kernels/chain_cuda.h"
#include "kernels/cuda/each.h"
#include "kernels/cuda/observe.h"

namespace halftone::kernels::cuda {

struct OutputGridItem {
  OutputGridArgs a;
  HALFTONE_HD void operator()(int64_t) const {
    const quant_math::Grid g = a.grid.at(0);
    if (a.output != nullptr) *a.output = quant_math::output_grid(g, a.grid.up, a.rule);
    if (a.zero_point != nullptr) *a.zero_point = g.zero_point;
  }
};

template <class Launcher>
void launch_output_grid(Launcher& launcher, const OutputGridArgs& a) {
  each(launcher, 1, OutputGridItem{a});
}

struct WeightRowsItem {
  WeightRowsArgs a;
  HALFTONE_HD void operator()(int64_t r) const {
    const bool negated = a.gamma != nullptr && a.gamma[r] < 0.0f;
    const float stored = quant_math::stored_scale(a.scale[a.per_row ? r : 0], a.shift);
    const double unit = quant_math::accumulator_unit(*a.input_scale, stored, negated);
    a.flips[r] = unit < 0 ? -1 : 0;
    a.units[r] = unit;
    a.reals[r] = static_cast<float>(unit / static_cast<double>(*a.input_scale));
  }
};

template <class Launcher>
void launch_weight_rows(Launcher& launcher, const WeightRowsArgs& a) {
  each(launcher, a.rows, WeightRowsItem{a});
}

struct FoldChannelsItem {
  FoldChannelsArgs a;
  HALFTONE_HD static double at(const float* values, int64_t c, double otherwise) {
    return values != nullptr ? static_cast<double>(values[c]) : otherwise;
  }
  HALFTONE_HD double mean(int64_t c) const {
    return quant_math::accumulator_mean(a.count, a.totals[c].sum);
  }
  HALFTONE_HD double variance(int64_t c) const {
    const AccumulatorTotal& t = a.totals[c];
    const __int128 squares = (static_cast<__int128>(t.carries) << 64) + t.squares;
    return quant_math::accumulator_variance(a.count, t.sum, squares);
  }

  HALFTONE_HD void set_norm(int64_t c, quant_math::FoldInput& in) const {
    const double unit = a.units[c];
    in.normalised = true;
    in.gamma = at(a.gamma, c, 1);
    in.beta = at(a.beta, c, 0);
    in.eps = static_cast<double>(a.eps);
    in.mean = at(a.running_mean, c, 0);
    in.variance = at(a.running_variance, c, 1);
    if (a.totals == nullptr) return;
    in.mean = unit * mean(c);
    in.variance = unit * unit * variance(c);
    if (a.mean != nullptr) {
      a.mean[c] = static_cast<float>(in.mean + in.bias);
      a.variance[c] = static_cast<float>(in.variance);
    }
    in.bias = 0;
  }

  // Where xhat is 0.
  HALFTONE_HD double centre(int64_t c) const {
    if (!a.normalised) return 0.0;
    if (a.totals != nullptr) return mean(c);
    return (at(a.running_mean, c, 0) - at(a.bias, c, 0)) / a.units[c];
  }

  HALFTONE_HD void operator()(int64_t c) const {
    quant_math::FoldInput in;
    in.input_scale = *a.input_scale;
    in.weight_scale = quant_math::stored_scale(a.weight_scale[a.per_row ? c : 0], a.shift);
    in.bias = at(a.bias, c, 0);
    if (a.normalised) set_norm(c, in);
    if (a.output != nullptr) in.output_scale = a.output->scale;
    const quant_math::Folded f = quant_math::fold(in);
    a.constants[c] = f.channel;
    a.centre[c] = static_cast<float>(centre(c));
    a.normal[c] = {a.units[c] / f.sigma, f.ratio, a.centre[c]};
  }
};

template <class Launcher>
void launch_fold_channels(Launcher& launcher, const FoldChannelsArgs& a) {
  each(launcher, a.channels, FoldChannelsItem{a});
}

struct ObserveAccumulatorsItem {
  using Total = RangeTotal;
  HALFTONE_HD void add(int64_t c, Total& total) const {
    see(totals[c].low, constants[c], total);
    see(totals[c].high, constants[c], total);
  }
  HALFTONE_HD void see(int32_t acc, const quant_math::Channel& channel, Total& total) const {
    total.see(quant_math::epilogue_float(acc, channel, act_low, act_high));
  }
  HALFTONE_HD void finish(const Total& total) const { track(0, total); }
  const AccumulatorTotal* totals;
  const quant_math::Channel* constants;
  float act_low, act_high;
  TrackRange track;
};

template <class Launcher>
void launch_observe_accumulators(Launcher& launcher, const ObserveAccumulatorsArgs& a) {
  sum_each(
      launcher, a.channels,
      ObserveAccumulatorsItem{a.totals, a.constants, a.act_low, a.act_high, track_of(a.track)});
}

struct ObserveSumItem {
  ObserveSumArgs a;
  TrackRange track;
  HALFTONE_HD float real(int32_t steps) const {
    const float v = *a.scale * static_cast<float>(steps);
    return quant_math::smaller(quant_math::larger(v, a.act_low), a.act_high);
  }
  HALFTONE_HD void operator()(int64_t) const {
    RangeTotal seen;
    seen.see(real(a.range->low));
    seen.see(real(a.range->high));
    track(0, seen);
  }
};

template <class Launcher>
void launch_observe_sum(Launcher& launcher, const ObserveSumArgs& a) {
  each(launcher, 1, ObserveSumItem{a, track_of(a.track)});
}

struct ShareScaleItem {
  ShareScaleArgs a;
  HALFTONE_HD void operator()(int64_t) const {
    float scale = 0.0f, low = INFINITY, high = -INFINITY;
    for (int i = 0; i < a.count; ++i) {
      const SharedRange& m = a.members[i];
      if (m.follows) continue;
      scale = quant_math::larger(scale, quant_math::choose_grid(*m.low, *m.high, m.rule).scale);
      low = quant_math::smaller(low, *m.low);
      high = quant_math::larger(high, *m.high);
    }
    *a.scale = scale;
    for (int i = 0; i < a.count; ++i) {
      if (a.members[i].follows) *a.members[i].low = low, *a.members[i].high = high;
    }
  }
};

template <class Launcher>
void launch_share_scale(Launcher& launcher, const ShareScaleArgs& a) {
  each(launcher, 1, ShareScaleItem{a});
}

struct MeanChannelsItem {
  MeanChannelsArgs a;
  HALFTONE_HD void operator()(int64_t c) const {
    a.constants[c] = {-1, 0, *a.scale / static_cast<float>(a.count)};
  }
};

template <class Launcher>
void launch_mean_channels(Launcher& launcher, const MeanChannelsArgs& a) {
  each(launcher, a.channels, MeanChannelsItem{a});
}

struct WriteScaledItem {
  WriteScaledArgs a;
  HALFTONE_HD void operator()(int64_t) const { *a.y = static_cast<float>(a.factor * *a.total); }
};

template <class Launcher>
void launch_write_scaled(Launcher& launcher, const WriteScaledArgs& a) {
  each(launcher, 1, WriteScaledItem{a});
}

struct ChannelGradientsItem {
  ChannelGradientsArgs a;
  HALFTONE_HD void operator()(int64_t c) const {
    const double* of = a.sums + c * (a.learned ? 4 : 2);
    const quant_math::Normalised& n = a.normal[c];
    const quant_math::ChannelGradient k = quant_math::channel_gradient(
        n, of[0], of[1], a.batch_statistics, static_cast<double>(a.count));
    a.slopes[c] = {k.a, k.b, k.d, n.centre};
    if (a.dgamma != nullptr) a.dgamma[c] = static_cast<float>(k.dgamma);
    if (a.dbeta != nullptr) a.dbeta[c] = static_cast<float>(k.dbeta);
    if (a.dbias != nullptr) a.dbias[c] = static_cast<float>(k.dbias);
    if (c == 0 && a.learned) learned();
  }
  // Of all channels, in their order.
  HALFTONE_HD void learned() const {
    double scale = 0, offset = 0;
    for (int64_t c = 0; c < a.channels; ++c) {
      scale += a.sums[4 * c + 2];
      offset += a.sums[4 * c + 3];
    }
    if (a.dscale != nullptr) *a.dscale = static_cast<float>(a.factor * scale);
    if (a.doffset != nullptr) *a.doffset = static_cast<float>(a.factor * offset);
  }
};

template <class Launcher>
void launch_channel_gradients(Launcher& launcher, const ChannelGradientsArgs& a) {
  each(launcher, a.channels, ChannelGradientsItem{a});
}

struct ScaleRowsOp : MapOp<float> {
  using Constants = float;
  HALFTONE_HD float constants(int64_t row) const { return factors[row]; }
  HALFTONE_HD void apply(int j, const Input& in, float factor, Output& out, Nothing&) const {
    out.y.v[j] = factor * in.x.v[j];
  }
  const float* factors;
};

template <class Launcher>
void launch_scale_rows(Launcher& launcher, const ScaleRowsArgs& a) {
  ScaleRowsOp op{};
  set_map(op, a);
  op.factors = a.factors;
  pass_rows(launcher, op, {1, a.rows, a.length}, common_lead(op.arrays(), op.kWidth));
}

struct ClampLearnedItem {
  ClampLearnedArgs a;
  HALFTONE_HD void operator()(int64_t i) const {
    const float s = quant_math::larger(a.scale[i], quant_math::kScaleFloor);  // NaN stays
    a.scale[i] = s;
    if (a.offset == nullptr || a.offset[i] != a.offset[i]) return;
    a.offset[i] = quant_math::clamp_lsq_plus_offset(a.offset[i], s, a.qmin, a.qmax);
  }
};

template <class Launcher>
void launch_clamp_learned(Launcher& launcher, const ClampLearnedArgs& a) {
  each(launcher, a.count, ClampLearnedItem{a});
}

}  // namespace halftone::kernels::cuda
