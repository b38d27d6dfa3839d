// The ops of batch_norm_cuda.h, for any launcher: forward.
#pragma once

#include "kernels/activation_math.h"
#include "kernels/batch_norm_cuda.h"
#include "kernels/cuda/each.h"
#include "kernels/cuda/ops.h"
#include "kernels/integer/binary_math.h"

namespace halftone::kernels::cuda {

// ---- statistics ----

// Sums of x - shift and of its square, where the shift is the mean of a few rows: near the
// channel's mean, so that the variance hardly cancels.
struct StatisticsOp : ReduceOp<float> {
  using Constants = float;
  using Tile = SumTile<2>;
  using Total = SumTotal<2>;
  static constexpr int64_t kSamples = 8;

  HALFTONE_HD float constants(int64_t channel) const {
    const int64_t samples = smaller(rows, kSamples), step = samples == 0 ? 1 : rows / samples;
    float sum = 0.0f;
    for (int64_t k = 0; k < samples; ++k) sum += x[k * step * channels + channel];
    return sum / static_cast<float>(samples);
  }
  HALFTONE_HD void apply(int j, const Input& in, float shift, Output&, Tile& tile) const {
    const float d = in.x.v[j] - shift;
    tile.sum[0] += d;
    tile.sum[1] += d * d;
  }
  HALFTONE_HD void finish(int64_t channel, const Total& total) const {
    const double n = static_cast<double>(rows), first = total.sum[0] / n;
    const double v = total.sum[1] / n - first * first;
    mean[channel] = static_cast<float>(static_cast<double>(constants(channel)) + first);
    // Rounding can leave a constant channel a hair below 0; a NaN stays.
    variance[channel] = static_cast<float>(v < 0.0 ? 0.0 : v);
  }

  int64_t rows, channels;
  float *mean, *variance;
};

template <class Launcher>
void launch_batch_norm_statistics(Launcher& launcher, const BatchNormStatisticsArgs& a) {
  pass<StatisticsOp, StatisticsOp>(launcher, {a.rows, a.channels, 1}, [&](StatisticsOp& op) {
    op.x = a.x;
    op.rows = a.rows, op.channels = a.channels;
    op.mean = a.mean, op.variance = a.variance;
  });
}

struct UpdateItem {
  BatchNormUpdateArgs a;
  float keep, unbias;
  HALFTONE_HD void operator()(int64_t c) const {
    a.running_mean[c] = keep * a.running_mean[c] + a.momentum * a.mean[c];
    a.running_variance[c] = keep * a.running_variance[c] + a.momentum * (a.variance[c] * unbias);
  }
};

template <class Launcher>
void launch_batch_norm_update(Launcher& launcher, const BatchNormUpdateArgs& a) {
  const double n = static_cast<double>(a.rows);
  each(launcher, a.channels, UpdateItem{a, 1.0f - a.momentum, static_cast<float>(n / (n - 1.0))});
}

// ---- y = act((x - mean) factor + shift) ----

struct NormConstants {
  float mean, factor, shift;
  HALFTONE_HD float operator()(float x) const { return (x - mean) * factor + shift; }
};

HALFTONE_HD double inverse_deviation(const NormInputs& norm, int64_t channel) {
  return 1.0 / sqrt(static_cast<double>(norm.variance[channel]) + static_cast<double>(norm.eps));
}

HALFTONE_HD float norm_weight(const NormInputs& norm, int64_t channel) {
  return norm.weight != nullptr ? norm.weight[channel] : 1.0f;
}

HALFTONE_HD NormConstants norm_constants(const NormInputs& norm, int64_t channel) {
  const double factor =
      inverse_deviation(norm, channel) * static_cast<double>(norm_weight(norm, channel));
  return {norm.mean[channel], static_cast<float>(factor),
          norm.bias != nullptr ? norm.bias[channel] : 0.0f};
}

template <class Rule>
struct NormOp : MapOp<float> {
  using Constants = NormConstants;
  HALFTONE_HD Constants constants(int64_t channel) const { return norm_constants(norm, channel); }
  HALFTONE_HD void apply(int j, const Input& in, const Constants& c, Output& out, Nothing&) const {
    out.y.v[j] = rule.forward(c(in.x.v[j]));
  }
  NormInputs norm;
  Rule rule;
};

// GradientOp's dy is the addend.
template <class Rule>
struct NormAddOp : GradientOp<float> {
  using Constants = NormConstants;
  HALFTONE_HD Constants constants(int64_t channel) const { return norm_constants(norm, channel); }
  HALFTONE_HD void apply(int j, const Input& in, const Constants& c, Output& out, Nothing&) const {
    out.dx.v[j] = rule.forward(c(in.x.v[j]) + in.dy.v[j]);
  }
  NormInputs norm;
  Rule rule;
};

template <class Launcher>
void launch_batch_norm_apply(Launcher& launcher, const BatchNormApplyArgs& a) {
  const ChannelLayout layout{a.rows, a.channels, 1};
  with_rule(a.norm.act, [&](auto rule) {
    if (a.addend == nullptr) {
      using Op = NormOp<decltype(rule)>;
      return pass<Op, Op>(launcher, layout, [&](Op& op) {
        set_map(op, a);
        op.norm = a.norm;
        op.rule = rule;
      });
    }
    using Op = NormAddOp<decltype(rule)>;
    pass<Op, Op>(launcher, layout, [&](Op& op) {
      op.dy = a.addend, op.x = a.x, op.dx = a.y;
      op.norm = a.norm;
      op.rule = rule;
    });
  });
}

// ---- and quantized ----

struct ToSign {
  using Out = float;
  struct Grid {};
  HALFTONE_HD Grid grid() const { return {}; }
  HALFTONE_HD float operator()(float v, const Grid&) const { return quant_math::binary_sign(v); }
  DeviceGrids grids;
};

struct ToFakeQuantized {
  using Out = float;
  struct Grid {
    SharedGrid shared;
    float z;
  };
  HALFTONE_HD Grid grid() const {
    const quant_math::Grid g = grids.at(0);
    return {SharedGrid(g), static_cast<float>(g.zero_point)};
  }
  HALFTONE_HD float operator()(float v, const Grid& g) const {
    return OnnxRule::value(v, g.shared, g.z);
  }
  DeviceGrids grids;
};

struct ToCodes {
  using Out = uint8_t;
  struct Grid {
    SharedGrid shared;
    int32_t z;
  };
  HALFTONE_HD Grid grid() const {
    const quant_math::Grid g = grids.at(0);
    return {SharedGrid(g), g.zero_point};
  }
  HALFTONE_HD uint8_t operator()(float v, const Grid& g) const {
    return static_cast<uint8_t>(OnnxRule::code(v, g.shared, g.z));
  }
  DeviceGrids grids;
};

template <class Rule, class Quantize>
struct NormQuantizeOp : MapOp<float, typename Quantize::Out> {
  using Base = MapOp<float, typename Quantize::Out>;
  struct Constants {
    NormConstants norm;
    typename Quantize::Grid grid;
  };
  HALFTONE_HD Constants constants(int64_t channel) const {
    return {norm_constants(norm, channel), quantize.grid()};
  }
  HALFTONE_HD void apply(int j, const typename Base::Input& in, const Constants& c,
                         typename Base::Output& out, Nothing&) const {
    out.y.v[j] = quantize(rule.forward(c.norm(in.x.v[j])), c.grid);
  }
  NormInputs norm;
  Rule rule;
  Quantize quantize;
};

template <class Quantize, class Launcher>
void launch_norm_quantize(Launcher& launcher, const BatchNormQuantizeArgs& a) {
  with_rule(a.norm.act, [&](auto rule) {
    using Op = NormQuantizeOp<decltype(rule), Quantize>;
    pass<Op, Op>(launcher, {a.rows, a.channels, 1}, [&](Op& op) {
      set_map(op, a);
      op.norm = a.norm;
      op.rule = rule;
      op.quantize.grids = a.grids;
    });
  });
}

template <class Launcher>
void launch_batch_norm_quantize(Launcher& launcher, const BatchNormQuantizeArgs& a) {
  if (a.output == NormOutput::kSign) return launch_norm_quantize<ToSign>(launcher, a);
  if (a.output == NormOutput::kFakeQuantized) {
    return launch_norm_quantize<ToFakeQuantized>(launcher, a);
  }
  if (a.grids.qmin < 0 || a.grids.qmax > 255) {
    throw HALFTONE_ERROR("batch_norm_quantize")
        .expected("codes that fit uint8")
        .found(std::to_string(a.grids.qmin) + " to " + std::to_string(a.grids.qmax));
  }
  launch_norm_quantize<ToCodes>(launcher, a);
}

}  // namespace halftone::kernels::cuda
