// Plain scalar forms of what a chain computes, sharing no body with it: 64-bit sums, double
// constants from the formulas, one float rounding at a time.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "nn/layers.h"
#include "quant/quantizer.h"

namespace halftone::test {

inline ContextOptions two_threads(uint64_t seed = 3) {
  ContextOptions o;
  o.threads = 2;
  o.seed = seed;
  return o;
}

// Codes with a gradient that goes to `leaf` as it comes.
inline Variable as_codes(const Variable& leaf, Codes codes) {
  return make_result({"test", {leaf}, [](const Tensor& dy, GradSink& sink) { sink.put(0, dy); }},
                     std::move(codes));
}

// Deterministic values in [lo, hi].
inline Tensor spread(const Context& context, const Shape& shape, float lo, float hi, int k = 1) {
  std::vector<float> v(shape.numel());
  for (size_t i = 0; i < v.size(); ++i) {
    const double t = static_cast<double>(i + 1) * 0.6180339887498949 * k;
    v[i] = static_cast<float>(lo + (hi - lo) * (t - std::floor(t)));
  }
  return Tensor::from(context, shape, v);
}

inline int64_t nearest_even(double v) {
  const double down = std::floor(v);
  const int64_t whole = static_cast<int64_t>(down);
  if (v - down != 0.5) return v - down < 0.5 ? whole : whole + 1;
  return whole % 2 == 0 ? whole : whole + 1;
}

inline int64_t clamp64(int64_t v, int64_t lo, int64_t hi) { return v < lo ? lo : v > hi ? hi : v; }

struct LayerOracle {
  // The layer.
  Shape x_shape;  // NHWC; linear: (N, 1, 1, C)
  Shape w_shape;  // OHWI
  Conv2dOptions options;
  std::vector<float> weight, bias, gamma, beta, running_mean, running_var;
  float eps = 1e-5f;
  bool norm = false, training = true;
  float act_low = -INFINITY, act_high = INFINITY;
  // The grids.
  std::vector<int64_t> x_codes;
  double x_scale = 1;
  int64_t x_zero = 0;
  int bits = 8;
  bool per_channel = true;
  bool affine = false, unsigned_codes = false;  // of the weights
  // Max pooling between the convolution and batch norm: windows of 2 x 2, where set.
  bool pool = false;
  // gamma / sigma of weights that are quantized folded, per channel; empty: raw.
  std::vector<double> factor;
  // Learned grids (LSQ): given scales, -2^(b-1) .. 2^(b-1) - 1, stored one bit lower because of
  // that; the unrounded value is clipped.
  bool learned = false;
  // The output's grid; scale 0: float.
  float y_scale = 0;
  int64_t y_zero = 0, y_low = 0, y_high = 255;

  std::vector<int64_t> q_weight;       // of the raw weights, not negated, not shifted
  std::vector<float> w_scale;          // one per channel
  std::vector<int64_t> w_zero;         // the same, of grids with a zero point
  std::vector<char> w_inside;          // there: codes that were not clipped
  std::vector<int64_t> acc;            // of those, behind the pooling
  std::vector<int64_t> winners;        // with pooling: where in the convolution they come from
  std::vector<double> mean, variance;  // the batch's, of the real convolution without bias
  Shape y_shape;
  std::vector<int64_t> codes;
  std::vector<float> reals;
  std::vector<char> passes;           // where the gradient passes
  std::vector<double> clipped_steps;  // what the activation leaves, in output steps, unrounded

  int64_t channels() const { return w_shape[0]; }

  double factor_of(int64_t c) const { return factor.empty() ? 1.0 : factor[c]; }

  void quantize_weights() {
    const int64_t n = static_cast<int64_t>(weight.size()) / channels();
    const int64_t top = (int64_t{1} << (bits - 1)) - 1;
    if (learned) return quantize_to_given(bits == 8 ? -127 : -top - 1, top);
    std::vector<float> largest(channels(), 0.0f), folded;
    for (size_t i = 0; i < weight.size(); ++i)
      folded.push_back(static_cast<float>(weight[i] * factor_of(static_cast<int64_t>(i) / n)));
    if (affine || unsigned_codes) return quantize_around_zero_points(folded, n);
    for (size_t i = 0; i < weight.size(); ++i) {
      float& m = largest[per_channel ? i / n : 0];
      m = std::max(m, std::fabs(folded[i]));
    }
    for (int64_t c = 0; c < channels(); ++c) {
      const float m = largest[per_channel ? c : 0];
      w_scale.push_back(std::max(m / static_cast<float>(top), std::ldexp(1.0f, -23)));
    }
    for (size_t i = 0; i < weight.size(); ++i) {
      const float t = folded[i] / w_scale[i / n];
      q_weight.push_back(clamp64(nearest_even(t), -top, top));
    }
  }

  // Integers code - zero point of codes 0 .. 2^b - 1, or -(2^(b-1) - 1) .. 2^(b-1) - 1.
  void quantize_around_zero_points(const std::vector<float>& w, int64_t n) {
    const int64_t half = int64_t{1} << (bits - 1);
    const int64_t low = unsigned_codes ? 0 : 1 - half,
                  high = unsigned_codes ? 2 * half - 1 : half - 1;
    std::vector<float> least(channels(), 0.0f), most(channels(), 0.0f);
    for (size_t i = 0; i < w.size(); ++i) {
      const size_t c = per_channel ? i / n : 0;
      least[c] = std::min(least[c], w[i]), most[c] = std::max(most[c], w[i]);
    }
    for (int64_t c = 0; c < channels(); ++c) {
      const float a = least[per_channel ? c : 0], b = most[per_channel ? c : 0];
      const float steps = static_cast<float>(high - low);
      const float scale = affine ? (b - a) / steps : std::max(-a, b) / (steps / 2);
      w_scale.push_back(std::max(scale, std::ldexp(1.0f, -23)));
      w_zero.push_back(affine ? clamp64(low - nearest_even(a / w_scale[c]), low, high) : half);
    }
    for (size_t i = 0; i < w.size(); ++i) {
      const int64_t z = w_zero[i / n], code = nearest_even(w[i] / w_scale[i / n]) + z;
      q_weight.push_back(clamp64(code, low, high) - z);
      w_inside.push_back(code >= low && code <= high);
    }
  }

  void quantize_to_given(int64_t low, int64_t high) {
    const size_t n = weight.size() / channels();
    if (w_scale.size() == 1) w_scale.resize(channels(), w_scale[0]);
    for (size_t i = 0; i < weight.size(); ++i)
      q_weight.push_back(clamp64(nearest_even(weight[i] / w_scale[i / n]), low, high));
  }

  void convolve() {
    y_shape = conv2d_shape(x_shape, w_shape, options);
    const int64_t cg = w_shape[3], og = channels() / options.groups;
    for (int64_t n = 0; n < y_shape[0]; ++n)
      for (int64_t i = 0; i < y_shape[1]; ++i)
        for (int64_t j = 0; j < y_shape[2]; ++j)
          for (int64_t o = 0; o < y_shape[3]; ++o) {
            int64_t sum = 0;
            for (int64_t a = 0; a < w_shape[1]; ++a)
              for (int64_t b = 0; b < w_shape[2]; ++b) {
                const int64_t r = i * options.stride_h - options.pad_h + a * options.dilation_h;
                const int64_t s = j * options.stride_w - options.pad_w + b * options.dilation_w;
                if (r < 0 || s < 0 || r >= x_shape[1] || s >= x_shape[2]) continue;
                for (int64_t k = 0; k < cg; ++k) {
                  const int64_t at =
                      ((n * x_shape[1] + r) * x_shape[2] + s) * x_shape[3] + o / og * cg + k;
                  sum += (x_codes[at] - x_zero) *
                         q_weight[((o * w_shape[1] + a) * w_shape[2] + b) * cg + k];
                }
              }
            acc.push_back(sum);
          }
  }

  // The largest real value of each window.
  void pool_windows() {
    const Shape from = y_shape;
    const std::vector<int64_t> all = acc;
    y_shape = {from[0], from[1] / 2, from[2] / 2, from[3]};
    acc.clear();
    for (int64_t n = 0; n < y_shape[0]; ++n)
      for (int64_t i = 0; i < y_shape[1]; ++i)
        for (int64_t j = 0; j < y_shape[2]; ++j)
          for (int64_t c = 0; c < y_shape[3]; ++c) {
            int64_t best = -1;
            for (int64_t tap = 0; tap < 4; ++tap) {
              const int64_t at =
                  ((n * from[1] + 2 * i + tap / 2) * from[2] + 2 * j + tap % 2) * from[3] + c;
              const double sign = factor_of(c) < 0 ? -1 : 1;
              if (best < 0 || sign * static_cast<double>(all[at] - all[best]) > 0) best = at;
            }
            winners.push_back(best);
            acc.push_back(all[best]);
          }
  }

  void batch_statistics() {
    const int64_t n = static_cast<int64_t>(acc.size()) / channels();
    for (int64_t c = 0; c < channels(); ++c) {
      long double sum = 0, squares = 0;
      for (int64_t r = 0; r < n; ++r) {
        const long double v = acc[r * channels() + c];
        sum += v;
        squares += v * v;
      }
      const double unit = x_scale * static_cast<double>(w_scale[c]) / factor_of(c);
      mean.push_back(unit * static_cast<double>(sum / n));
      variance.push_back(unit * unit * static_cast<double>((squares - sum * sum / n) / n));
    }
  }

  // The epilogue of one value: code in `codes`, or real in `reals`.
  void finish(int64_t index, int64_t c) {
    const bool wider = learned || affine || unsigned_codes;  // as -2^(b-1) must fit, or more
    const double shift = std::ldexp(1.0, wider && bits < 8 ? 7 - bits : 8 - bits);
    double ratio = 1, offset = bias.empty() ? 0.0 : bias[c];
    if (norm) {
      const double sigma =
          std::sqrt((training ? variance[c] : running_var[c]) + static_cast<double>(eps));
      ratio = gamma[c] / sigma;
      const double own = training || bias.empty() ? 0.0 : bias[c];
      offset = beta[c] + ratio * (own - (training ? mean[c] : running_mean[c]));
    }
    const float raw = static_cast<float>(w_scale[c] / shift / std::fabs(factor_of(c)));
    const float w_unit = static_cast<float>(static_cast<double>(raw) * std::fabs(ratio));
    const float unit = static_cast<float>(x_scale) * w_unit;
    int64_t a =
        acc[index] * static_cast<int64_t>(shift) * ((ratio < 0) != (factor_of(c) < 0) ? -1 : 1);
    float multiplier = unit, sum;
    const double steps = offset / unit;
    if (ratio == 0 || std::fabs(steps) > std::ldexp(1.0, 30)) {  // a constant channel: its offset
      const float real = static_cast<float>(offset);
      multiplier = 1;
      sum = real;
      if (y_scale > 0) sum = real / y_scale;
    } else {
      sum = static_cast<float>(a + nearest_even(steps));
      if (y_scale > 0) multiplier = unit / y_scale;
    }
    const float t = sum * multiplier;
    if (y_scale == 0) {
      reals.push_back(std::min(std::max(t, act_low), act_high));
      passes.push_back(t > act_low && t < act_high);
      return;
    }
    int64_t lo = y_low - y_zero, hi = y_high - y_zero;
    const bool inside = t > act_low / y_scale && t < act_high / y_scale;
    const bool learned_inside = t > static_cast<float>(lo) && t < static_cast<float>(hi);
    passes.push_back(inside &&
                     (learned ? learned_inside : nearest_even(t) >= lo && nearest_even(t) <= hi));
    clipped_steps.push_back(std::min(std::max(t, act_low / y_scale), act_high / y_scale));
    if (act_low > -INFINITY) lo = std::max(lo, nearest_even(act_low / y_scale));
    if (act_high < INFINITY) hi = std::min(hi, nearest_even(act_high / y_scale));
    codes.push_back(clamp64(nearest_even(t), lo, hi) + y_zero);
  }

  void run() {
    quantize_weights();
    convolve();
    if (pool) pool_windows();
    if (norm && training) batch_statistics();
    for (size_t i = 0; i < acc.size(); ++i) {
      finish(static_cast<int64_t>(i), static_cast<int64_t>(i) % channels());
    }
  }
};

}  // namespace halftone::test
