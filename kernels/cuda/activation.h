// The ops of activation_cuda.h, for any launcher.
#pragma once

#include "kernels/activation_cuda.h"
#include "kernels/activation_math.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/random.h"

namespace halftone::kernels::cuda {

template <class Rule>
struct ActivationOp : MapOp<float> {
  using Constants = Nothing;
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  HALFTONE_HD void apply(int j, const Input& in, const Nothing&, Output& out, Nothing&) const {
    out.y.v[j] = rule.forward(in.x.v[j]);
  }
  Rule rule;
};

template <class Launcher>
void launch_activation(Launcher& launcher, const ActivationArgs& a) {
  with_rule(a.options, [&](auto rule) {
    ActivationOp<decltype(rule)> op{};
    set_map(op, a);
    op.rule = rule;
    pass_flat(launcher, op, a.numel);
  });
}

// GradientOp's x is the output y.
template <class Rule>
struct ActivationBackwardOp : GradientOp<float> {
  using Constants = Nothing;
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  HALFTONE_HD void apply(int j, const Input& in, const Nothing&, Output& out, Nothing&) const {
    out.dx.v[j] = rule.backward(in.dy.v[j], in.x.v[j]);
  }
  Rule rule;
};

template <class Launcher>
void launch_activation_backward(Launcher& launcher, const ActivationBackwardArgs& a) {
  with_rule(a.options, [&](auto rule) {
    ActivationBackwardOp<decltype(rule)> op{};
    op.dy = a.dy, op.x = a.y, op.dx = a.dx;
    op.rule = rule;
    pass_flat(launcher, op, a.numel);
  });
}

struct DropoutOp : MapOp<float> {
  using Constants = Nothing;
  static constexpr int kUnroll = 1;  // a draw is long enough to hide its load
  struct Input {
    Pack<float, kWidth> x;
    RandomWords<kWidth> random;
  };
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  template <class Place>
  HALFTONE_HD void load(const Place& at, Input& in) const {
    at.load(x, in.x);
    in.random.draw(random, at.i);
  }
  HALFTONE_HD void apply(int j, const Input& in, const Nothing&, Output& out, Nothing&) const {
    const float uniform = Philox::uniform_of(in.random.word[j]);
    out.y.v[j] = uniform < p ? 0.0f : in.x.v[j] * factor;
  }
  float p, factor;
  Philox random;
};

template <class Launcher>
void launch_dropout(Launcher& launcher, const DropoutArgs& a) {
  DropoutOp op{};
  set_map(op, a);
  op.p = a.p;
  op.factor = a.p < 1.0f ? 1.0f / (1.0f - a.p) : 0.0f;
  op.random = a.random;
  pass_flat(launcher, op, a.numel);
}

}  // namespace halftone::kernels::cuda
