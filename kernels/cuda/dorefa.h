// The ops of dorefa_cuda.h, for any launcher.
#pragma once

#include "kernels/cuda/random.h"
#include "kernels/cuda/range.h"
#include "kernels/dorefa_cuda.h"

namespace halftone::kernels::cuda {

// n = 2^bits - 1.
inline float dorefa_levels(const char* op, int bits, int fewest) {
  if (bits < fewest || bits > 16) {
    throw HALFTONE_ERROR(op)
        .expected(std::to_string(fewest) + " to 16 bits")
        .found(std::to_string(bits));
  }
  return static_cast<float>((1 << bits) - 1);
}

// ---- weights ----

HALFTONE_HD float dorefa_at_least_floor(float largest) {
  return largest > quant_math::kDorefaFloor ? largest : quant_math::kDorefaFloor;
}

// tanh never falls, so the largest |w| has the largest |tanh w|.
struct KeepLargestTanh {
  HALFTONE_HD void operator()(int64_t, const MagnitudeTotal& total) const {
    *largest = quant_math::dorefa_tanh(total.most);
  }
  float* largest;
};

template <class T>
struct DorefaWeightsOp : MapOp<T> {
  using Base = MapOp<T>;
  using Constants = float;
  HALFTONE_HD float constants(int64_t) const { return dorefa_at_least_floor(*largest); }
  HALFTONE_HD void apply(int j, const typename Base::Input& in, float m, typename Base::Output& out,
                         Nothing&) const {
    const float t = quant_math::dorefa_tanh(to_float(in.x.v[j]));
    from_float(quant_math::dorefa_weight(quant_math::dorefa_weight_code(t, m, n), n), out.y.v[j]);
  }
  const float* largest;
  float n;
};

template <class Launcher>
void launch_dorefa_weights(Launcher& launcher, const DorefaWeightsArgs& a) {
  const float n = dorefa_levels("dorefa_weights", a.bits, 2);
  with_float_type("dorefa_weights", a.dtype, [&](auto type) {
    using T = decltype(type);
    reduce_values<T, MagnitudeTotal>(launcher, static_cast<const T*>(a.w), {1, 1, a.numel},
                                     KeepLargestTanh{a.largest});
    DorefaWeightsOp<T> op{};
    op.x = static_cast<const T*>(a.w);
    op.y = static_cast<T*>(a.y);
    op.largest = a.largest;
    op.n = n;
    pass_flat(launcher, op, a.numel);
  });
}

// sum_j dy_j t_j and the number of weights with the largest |t|; writes the rule.
template <class T>
struct DorefaTiedOp : GradientOp<T> {
  using Base = GradientOp<T>;
  using Constants = float;
  using Tile = SumTotal<2>;
  struct Total : SumTotal<2> {
    HALFTONE_HD void take(const SumTotal<2>& tile) { this->merge(tile); }
  };
  struct Output {};

  HALFTONE_HD float constants(int64_t) const { return *largest; }
  HALFTONE_HD void apply(int j, const typename Base::Input& in, float m, Output&,
                         Tile& tile) const {
    const float t = quant_math::dorefa_tanh(to_float(in.x.v[j]));
    tile.sum[0] += static_cast<double>(to_float(in.dy.v[j])) * static_cast<double>(t);
    tile.sum[1] += fabsf(t) == m ? 1.0 : 0.0;
  }
  template <class Place>
  HALFTONE_HD void store(const Place&, const Output&) const {}
  HALFTONE_HD void finish(int64_t, const Total& total) const {
    const double m = static_cast<double>(*largest), count = total.sum[1];
    quant_math::DorefaWeightRule r;
    r.dead = !(*largest >= quant_math::kDorefaFloor);
    r.largest = dorefa_at_least_floor(*largest);
    r.tied = !r.dead && count > 0.0 ? static_cast<float>(total.sum[0] / (m * m * count)) : 0.0f;
    *rule = r;
  }
  const float* largest;
  quant_math::DorefaWeightRule* rule;
};

template <class T>
struct DorefaWeightsBackwardOp : GradientOp<T> {
  using Base = GradientOp<T>;
  using Constants = quant_math::DorefaWeightRule;
  HALFTONE_HD Constants constants(int64_t) const { return *rule; }
  HALFTONE_HD void apply(int j, const typename Base::Input& in, const Constants& r,
                         typename Base::Output& out, Nothing&) const {
    const float t = quant_math::dorefa_tanh(to_float(in.x.v[j]));
    from_float(quant_math::dorefa_weight_gradient(to_float(in.dy.v[j]), t, r), out.dx.v[j]);
  }
  const quant_math::DorefaWeightRule* rule;
};

template <class Launcher>
void launch_dorefa_weights_backward(Launcher& launcher, const DorefaWeightsBackwardArgs& a) {
  with_float_type("dorefa_weights_backward", a.dtype, [&](auto type) {
    using T = decltype(type);
    DorefaTiedOp<T> sums{};
    sums.dy = static_cast<const T*>(a.dy);
    sums.x = static_cast<const T*>(a.w);
    sums.largest = a.largest;
    sums.rule = a.rule;
    pass_flat(launcher, sums, a.numel);
    DorefaWeightsBackwardOp<T> op{};
    op.dy = sums.dy;
    op.x = sums.x;
    op.dx = static_cast<T*>(a.dw);
    op.rule = a.rule;
    pass_flat(launcher, op, a.numel);
  });
}

// ---- activations ----

template <class T>
struct DorefaActivationsOp : MapOp<T> {
  using Base = MapOp<T>;
  using Constants = Nothing;
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  HALFTONE_HD void apply(int j, const typename Base::Input& in, const Nothing&,
                         typename Base::Output& out, Nothing&) const {
    from_float(quant_math::dorefa_activation(to_float(in.x.v[j]), n), out.y.v[j]);
  }
  float n;
};

template <class Launcher>
void launch_dorefa_activations(Launcher& launcher, const DorefaActivationsArgs& a) {
  const float n = dorefa_levels("dorefa_activations", a.bits, 1);
  with_float_type("dorefa_activations", a.dtype, [&](auto type) {
    DorefaActivationsOp<decltype(type)> op{};
    set_map(op, a);
    op.n = n;
    pass_flat(launcher, op, a.numel);
  });
}

template <class T>
struct DorefaActivationsBackwardOp : GradientOp<T> {
  using Base = GradientOp<T>;
  using Constants = Nothing;
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  HALFTONE_HD void apply(int j, const typename Base::Input& in, const Nothing&,
                         typename Base::Output& out, Nothing&) const {
    const float dy = to_float(in.dy.v[j]), x = to_float(in.x.v[j]);
    from_float(quant_math::dorefa_activation_gradient(dy, x), out.dx.v[j]);
  }
};

template <class Launcher>
void launch_dorefa_activations_backward(Launcher& launcher,
                                        const DorefaActivationsBackwardArgs& a) {
  with_float_type("dorefa_activations_backward", a.dtype, [&](auto type) {
    DorefaActivationsBackwardOp<decltype(type)> op{};
    set_gradient(op, a);
    pass_flat(launcher, op, a.numel);
  });
}

// ---- gradients ----

struct KeepMagnitude {
  HALFTONE_HD void operator()(int64_t sample, const MagnitudeTotal& total) const {
    largest[sample] = total.most;
  }
  float* largest;
};

template <class T>
struct DorefaGradientsOp : MapOp<T> {
  using Base = MapOp<T>;
  using Constants = float;
  static constexpr int kUnroll = 1;  // a draw is long enough to hide its load
  struct Input {
    Pack<T, Base::kWidth> x;
    RandomWords<Base::kWidth> random;
  };
  HALFTONE_HD float constants(int64_t sample) const { return largest[sample]; }
  template <class Place>
  HALFTONE_HD void load(const Place& at, Input& in) const {
    at.load(this->x, in.x);
    in.random.draw(noise, at.i);
  }
  HALFTONE_HD void apply(int j, const Input& in, float m, typename Base::Output& out,
                         Nothing&) const {
    const float uniform = Philox::uniform_of(in.random.word[j]);
    from_float(quant_math::dorefa_gradient(to_float(in.x.v[j]), m, n, uniform), out.y.v[j]);
  }
  const float* largest;
  float n;
  Philox noise;
};

template <class Launcher>
void launch_dorefa_gradients(Launcher& launcher, const DorefaGradientsArgs& a) {
  const float n = dorefa_levels("dorefa_gradients", a.bits, 1);
  const ChannelLayout layout{1, a.samples, a.length};
  with_float_type("dorefa_gradients", a.dtype, [&](auto type) {
    using T = decltype(type);
    reduce_values<T, MagnitudeTotal>(launcher, static_cast<const T*>(a.x), layout,
                                     KeepMagnitude{a.largest});
    DorefaGradientsOp<T> op{};
    set_map(op, a);
    op.largest = a.largest;
    op.n = n;
    op.noise = a.noise;
    pass(launcher, op, layout);
  });
}

}  // namespace halftone::kernels::cuda
