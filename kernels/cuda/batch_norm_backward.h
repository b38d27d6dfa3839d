// The backward of batch_norm_cuda.h, for any launcher: sums per channel, then the gradient.
#pragma once

#include "kernels/cuda/batch_norm.h"

namespace halftone::kernels::cuda {

// g is dy past the activation, whose side of the kink is told by the output, which follows from x
// where no addend came in between.
template <class Rule, bool kReadsOutput>
struct NormGate {
  struct Input {
    Pack<float, 4> dy, x, y;
  };
  template <class Place>
  HALFTONE_HD void load(const Place& at, Input& in) const {
    at.load(dy, in.dy);
    at.load(x, in.x);
    if constexpr (kReadsOutput) at.load(y, in.y);
  }
  HALFTONE_HD float operator()(int j, const Input& in, const NormConstants& c) const {
    if constexpr (kReadsOutput) return rule.backward(in.dy.v[j], in.y.v[j]);
    return backward_from_input(rule, in.dy.v[j], c(in.x.v[j]));
  }
  Rule rule;
  const float *dy, *x, *y;
};

// Sum g and sum g (x - mean) per channel: the gradients of bias and weight, and the coefficients
// of dx. Writes g where kWrites.
template <class Gate, bool kWrites>
struct NormSumsOp {
  static constexpr int kWidth = 4, kUnroll = 2;
  using Constants = NormConstants;
  using Tile = SumTile<2>;
  using Total = SumTotal<2>;
  using Input = typename Gate::Input;
  struct Output {
    Pack<float, 4> g;
  };

  HALFTONE_HD Constants constants(int64_t channel) const { return norm_constants(norm, channel); }
  template <class Place>
  HALFTONE_HD void load(const Place& at, Input& in) const {
    gate.load(at, in);
  }
  HALFTONE_HD void apply(int j, const Input& in, const Constants& c, Output& out,
                         Tile& tile) const {
    const float g = gate(j, in, c);
    if constexpr (kWrites) out.g.v[j] = g;
    tile.sum[0] += g;
    tile.sum[1] += g * (in.x.v[j] - c.mean);
  }
  template <class Place>
  HALFTONE_HD void store(const Place& at, const Output& out) const {
    if constexpr (kWrites) at.store(g, out.g);
  }
  auto arrays() const { return ArrayList<4>{{{gate.dy, 4}, {gate.x, 4}, {gate.y, 4}, {g, 4}}}; }

  HALFTONE_HD void finish(int64_t c, const Total& total) const {
    const double inverse = inverse_deviation(norm, c);
    const double scale = inverse * static_cast<double>(norm_weight(norm, c));
    if (dbias != nullptr) dbias[c] = static_cast<float>(total.sum[0]);
    if (dweight != nullptr) dweight[c] = static_cast<float>(total.sum[1] * inverse);
    offset[c] = static_cast<float>(scale * total.sum[0] * share);
    slope[c] = static_cast<float>(scale * inverse * inverse * total.sum[1] * share);
  }

  Gate gate;
  NormInputs norm;
  double share;  // 1 / rows where mean and variance depend on x, else 0
  float *g, *dweight, *dbias, *offset, *slope;
};

// dx = a g - offset - (x - mean) slope
template <class Gate>
struct NormGradientOp {
  static constexpr int kWidth = 4, kUnroll = 2;
  struct Constants {
    NormConstants norm;
    float offset, slope;
  };
  using Tile = Nothing;
  using Total = Nothing;
  using Input = typename Gate::Input;
  struct Output {
    Pack<float, 4> dx;
  };

  HALFTONE_HD Constants constants(int64_t c) const {
    return {norm_constants(norm, c), offset[c], slope[c]};
  }
  template <class Place>
  HALFTONE_HD void load(const Place& at, Input& in) const {
    gate.load(at, in);
  }
  HALFTONE_HD void apply(int j, const Input& in, const Constants& c, Output& out, Nothing&) const {
    const float passed = c.norm.factor * gate(j, in, c.norm) - c.offset;
    out.dx.v[j] = passed - (in.x.v[j] - c.norm.mean) * c.slope;
  }
  template <class Place>
  HALFTONE_HD void store(const Place& at, const Output& out) const {
    at.store(dx, out.dx);
  }
  auto arrays() const { return ArrayList<4>{{{gate.dy, 4}, {gate.x, 4}, {gate.y, 4}, {dx, 4}}}; }

  Gate gate;
  NormInputs norm;
  const float *offset, *slope;
  float* dx;
};

template <bool kWrites, class Launcher, class Gate>
void launch_norm_sums(Launcher& launcher, const BatchNormBackwardArgs& a, const Gate& gate) {
  using Op = NormSumsOp<Gate, kWrites>;
  pass<Op, Op>(launcher, {a.rows, a.channels, 1}, [&](Op& op) {
    op.gate = gate;
    op.norm = a.norm;
    op.share = a.use_batch_statistics ? 1.0 / static_cast<double>(a.rows) : 0.0;
    op.g = kWrites ? a.daddend : nullptr;
    op.dweight = a.dweight, op.dbias = a.dbias;
    op.offset = a.coefficients, op.slope = a.coefficients + a.channels;
  });
}

template <class Launcher, class Gate>
void launch_norm_gradient(Launcher& launcher, const BatchNormBackwardArgs& a, const Gate& gate) {
  using Op = NormGradientOp<Gate>;
  pass<Op, Op>(launcher, {a.rows, a.channels, 1}, [&](Op& op) {
    op.gate = gate;
    op.norm = a.norm;
    op.offset = a.coefficients, op.slope = a.coefficients + a.channels;
    op.dx = a.dx;
  });
}

template <class Launcher>
void launch_batch_norm_backward(Launcher& launcher, const BatchNormBackwardArgs& a) {
  with_rule(a.norm.act, [&](auto rule) {
    using Rule = decltype(rule);
    if (a.y == nullptr) {
      const NormGate<Rule, false> gate{rule, a.dy, a.x, nullptr};
      launch_norm_sums<false>(launcher, a, gate);
      return launch_norm_gradient(launcher, a, gate);
    }
    const NormGate<Rule, true> gate{rule, a.dy, a.x, a.y};
    if (a.daddend == nullptr) {
      launch_norm_sums<false>(launcher, a, gate);
      return launch_norm_gradient(launcher, a, gate);
    }
    launch_norm_sums<true>(launcher, a, gate);
    launch_norm_gradient(launcher, a, NormGate<IdentityRule, false>{{}, a.daddend, a.x, nullptr});
  });
}

}  // namespace halftone::kernels::cuda
