// The ops of binary_cuda.h, for any launcher.
#pragma once

#include "kernels/binary_cuda.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/random.h"

namespace halftone::kernels::cuda {

template <class T>
struct SignOp : MapOp<T> {
  using Base = MapOp<T>;
  using Constants = Nothing;
  static constexpr int kUnroll = 2;
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  HALFTONE_HD void apply(int j, const typename Base::Input& in, const Nothing&,
                         typename Base::Output& out, Nothing&) const {
    from_float(quant_math::binary_sign(to_float(in.x.v[j])), out.y.v[j]);
  }
};

template <class T>
struct StochasticSignOp : MapOp<T> {
  using Base = MapOp<T>;
  using Constants = Nothing;
  static constexpr int kUnroll = 1;  // a draw is long enough to hide its load
  struct Input {
    Pack<T, Base::kWidth> x;
    RandomWords<Base::kWidth> random;
  };
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  template <class Place>
  HALFTONE_HD void load(const Place& at, Input& in) const {
    at.load(this->x, in.x);
    in.random.draw(random, at.i);
  }
  HALFTONE_HD void apply(int j, const Input& in, const Nothing&, typename Base::Output& out,
                         Nothing&) const {
    const float uniform = Philox::uniform_of(in.random.word[j]);
    from_float(quant_math::stochastic_sign(to_float(in.x.v[j]), uniform), out.y.v[j]);
  }

  Philox random;
};

template <class T, quant_math::SignGradient kRule>
struct SignBackwardOp : GradientOp<T> {
  using Base = GradientOp<T>;
  using Constants = Nothing;
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  HALFTONE_HD void apply(int j, const typename Base::Input& in, const Nothing&,
                         typename Base::Output& out, Nothing&) const {
    const float d = quant_math::sign_derivative(to_float(in.x.v[j]), kRule);
    from_float(to_float(in.dy.v[j]) * d, out.dx.v[j]);
  }
};

template <class Launcher>
void launch_sign(Launcher& launcher, const SignArgs& a) {
  with_float_type("sign", a.dtype, [&](auto type) {
    using T = decltype(type);
    if (a.stochastic) {
      StochasticSignOp<T> op{};
      set_map(op, a);
      op.random = a.random;
      return pass_flat(launcher, op, a.numel);
    }
    SignOp<T> op{};
    set_map(op, a);
    pass_flat(launcher, op, a.numel);
  });
}

template <class Launcher>
void launch_sign_backward(Launcher& launcher, const SignBackwardArgs& a) {
  using quant_math::SignGradient;
  with_float_type("sign_backward", a.dtype, [&](auto type) {
    using T = decltype(type);
    const auto go = [&](auto op) {
      set_gradient(op, a);
      pass_flat(launcher, op, a.numel);
    };
    if (a.rule == SignGradient::kStraightThrough) {
      go(SignBackwardOp<T, SignGradient::kStraightThrough>{});
    } else if (a.rule == SignGradient::kApproxSign) {
      go(SignBackwardOp<T, SignGradient::kApproxSign>{});
    } else {
      go(SignBackwardOp<T, SignGradient::kIdentity>{});
    }
  });
}

}  // namespace halftone::kernels::cuda
