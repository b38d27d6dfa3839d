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
    } else {
      go(SignBackwardOp<T, SignGradient::kApproxSign>{});
    }
  });
}

// ---- latent weights, and signs with a scale per row ----

struct ClipLatentOp : MapOp<float> {
  using Constants = Nothing;
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  HALFTONE_HD void apply(int j, const Input& in, const Nothing&, Output& out, Nothing&) const {
    out.y.v[j] = quant_math::clip_latent(in.x.v[j]);
  }
};

template <class Launcher>
void launch_clip_latent(Launcher& launcher, const ClipLatentArgs& a) {
  ClipLatentOp op{};
  op.x = a.w, op.y = a.w;
  pass_flat(launcher, op, a.numel);
}

struct MeanMagnitudeOp : ReduceOp<float> {
  using Constants = Nothing;
  using Tile = SumTotal<1>;
  struct Total : SumTotal<1> {
    HALFTONE_HD void take(const SumTotal<1>& tile) { this->merge(tile); }
  };
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  HALFTONE_HD void apply(int j, const Input& in, const Nothing&, Output&, Tile& tile) const {
    tile.sum[0] += static_cast<double>(fabsf(in.x.v[j]));
  }
  HALFTONE_HD void finish(int64_t row, const Total& total) const {
    alpha[row] = length > 0 ? static_cast<float>(total.sum[0] / static_cast<double>(length)) : 0.0f;
  }
  int64_t length;
  float* alpha;
};

template <class Launcher>
void launch_mean_magnitude(Launcher& launcher, const MeanMagnitudeArgs& a) {
  MeanMagnitudeOp op{};
  op.x = a.w, op.length = a.length, op.alpha = a.alpha;
  pass_rows(launcher, op, {1, a.rows, a.length}, common_lead(op.arrays(), op.kWidth));
}

struct ScaledSignOp : MapOp<float> {
  using Constants = float;
  HALFTONE_HD float constants(int64_t row) const { return alpha[row]; }
  HALFTONE_HD void apply(int j, const Input& in, float scale, Output& out, Nothing&) const {
    out.y.v[j] = scale * quant_math::binary_sign(in.x.v[j]);
  }
  const float* alpha;
};

template <class Launcher>
void launch_scaled_sign(Launcher& launcher, const ScaledSignArgs& a) {
  ScaledSignOp op{};
  op.x = a.w, op.y = a.y, op.alpha = a.alpha;
  pass_rows(launcher, op, {1, a.rows, a.length}, common_lead(op.arrays(), op.kWidth));
}

struct ScaledSignBackwardOp : GradientOp<float> {
  using Constants = float;
  HALFTONE_HD float constants(int64_t row) const { return alpha[row]; }
  HALFTONE_HD void apply(int j, const Input& in, float scale, Output& out, Nothing&) const {
    const float d =
        quant_math::sign_derivative(in.x.v[j], quant_math::SignGradient::kStraightThrough);
    out.dx.v[j] = quant_math::xnor_gradient(in.dy.v[j], scale, d, one_nth);
  }
  const float* alpha;
  float one_nth;
};

template <class Launcher>
void launch_scaled_sign_backward(Launcher& launcher, const ScaledSignBackwardArgs& a) {
  ScaledSignBackwardOp op{};
  op.dy = a.dy, op.x = a.w, op.dx = a.dw, op.alpha = a.alpha;
  op.one_nth = static_cast<float>(1.0 / static_cast<double>(a.length > 1 ? a.length : 1));
  pass_rows(launcher, op, {1, a.rows, a.length}, common_lead(op.arrays(), op.kWidth));
}

}  // namespace halftone::kernels::cuda
