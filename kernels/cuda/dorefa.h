// The ops of dorefa_cuda.h, for any launcher.
#pragma once

#include "kernels/cuda/divide.h"
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

// quant_math::dorefa_weight(dorefa_weight_code(t, m, n), n), with shared divisions: m lies between
// its floor and 1, n between 3 and 65535.
struct DorefaWeightRuleOfLayer {
  Divider twice_largest, levels;
  HALFTONE_HD float value(float t) const {
    const float code = quant_math::dorefa_code(twice_largest(t) + 0.5f, levels.s);
    return 2.0f * levels(code) - 1.0f;
  }
};

template <class T>
struct DorefaWeightsOp : MapOp<T> {
  using Base = MapOp<T>;
  using Constants = DorefaWeightRuleOfLayer;
  HALFTONE_HD Constants constants(int64_t) const {
    return {Divider::by(2.0f * dorefa_at_least_floor(*largest)), Divider::by(n)};
  }
  HALFTONE_HD void apply(int j, const typename Base::Input& in, const Constants& c,
                         typename Base::Output& out, Nothing&) const {
    from_float(c.value(quant_math::dorefa_tanh(to_float(in.x.v[j]))), out.y.v[j]);
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
  using Constants = Divider;
  HALFTONE_HD Divider constants(int64_t) const { return Divider::by(n); }
  HALFTONE_HD void apply(int j, const typename Base::Input& in, const Divider& levels,
                         typename Base::Output& out, Nothing&) const {
    const float size = clamp_fast(to_float(in.x.v[j]) * levels.s, 0.0f, levels.s);
    from_float(levels(round_whole(size)), out.y.v[j]);
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

// quant_math::dorefa_gradient with shared divisions where m allows them. A quotient below 2^-3 that
// is off in its last bit does not show in its sum with 1/2 for |g| < 2^-103 and m > 2^-60.
struct DorefaGradientRule {
  Divider largest, levels;
  bool usual;
  HALFTONE_HD float value(float g, float uniform) const {
    const float m = largest.s, n = levels.s;
    if (!usual) return quant_math::dorefa_gradient(g, m, n, uniform);
    const float size = largest(clamp_fast(g, -m, m));
    const float r = size * 0.5f + 0.5f + levels(uniform - 0.5f);
    const float code = round_whole(clamp_fast(r * n, 0.0f, n));
    const float y = (2.0f * levels(code) - 1.0f) * m;
    return g == g ? y : g;
  }
};

template <class T>
struct DorefaGradientsOp : MapOp<T> {
  using Base = MapOp<T>;
  using Constants = DorefaGradientRule;
  static constexpr int kUnroll = 1;  // a draw is long enough to hide its load
  struct Input {
    Pack<T, Base::kWidth> x;
    RandomWords<Base::kWidth> random;
  };
  HALFTONE_HD Constants constants(int64_t sample) const {
    const float m = largest[sample];
    return {Divider::by(m), Divider::by(n), m >= 0x1p-60f && m <= 0x1p100f};
  }
  template <class Place>
  HALFTONE_HD void load(const Place& at, Input& in) const {
    at.load(this->x, in.x);
    in.random.draw(noise, at.i);
  }
  HALFTONE_HD void apply(int j, const Input& in, const Constants& c, typename Base::Output& out,
                         Nothing&) const {
    const float uniform = Philox::uniform_of(in.random.word[j]);
    from_float(c.value(to_float(in.x.v[j]), uniform), out.y.v[j]);
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
    pass_rows(launcher, op, layout, common_lead(op.arrays(), op.kWidth));
  });
}

}  // namespace halftone::kernels::cuda
