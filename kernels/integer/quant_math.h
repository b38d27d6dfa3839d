// The arithmetic of quantization, each rule written once, for every device. Only true division, one
// rounding per operation, ties to even; nothing here may be contracted into a fused multiply-add.
#pragma once

#include <math.h>
#include <stdint.h>

#include "kernels/integer/host_device.h"

namespace halftone::quant_math {

// kOnnx: saturate(rint(x / s) + z). kNni: rint(clamp(x / s + z)), as NNI and QONNX do; the two
// differ on ties when z is odd.
enum class Rounding : uint8_t { kOnnx, kNni };

constexpr float kScaleFloor = 0x1p-23f;  // PyTorch's eps of an observer

struct Grid {
  float scale = 1.0f;
  int32_t zero_point = 0;
  int32_t qmin = 0, qmax = 255;  // |qmin|, |qmax| <= 2^16: exact as float
};

// Rules with a V are for floats and for vectors of them, which have the same two functions beside
// the operators and a constructor from float.
HALFTONE_HD float round_even(float v) { return rintf(v); }
HALFTONE_HD float select(bool condition, float yes, float no) { return condition ? yes : no; }

// The first operand loses against NaN, so NaN becomes `low`: one maxps and one minps.
template <class V>
HALFTONE_HD V clamp_nan_low(V t, V low, V high) {
  t = select(t > low, t, low);
  return select(t < high, t, high);
}

// ---- float to codes and back ----

HALFTONE_HD int32_t quantize(float x, const Grid& g) {
  const float z = static_cast<float>(g.zero_point);
  const float t = rintf(x / g.scale);
  return static_cast<int32_t>(clamp_nan_low(t, g.qmin - z, g.qmax - z)) + g.zero_point;
}

HALFTONE_HD int32_t quantize_nni(float x, const Grid& g) {
  const float t = static_cast<float>(g.zero_point) + x / g.scale;
  const float low = static_cast<float>(g.qmin), high = static_cast<float>(g.qmax);
  return static_cast<int32_t>(rintf(clamp_nan_low(t, low, high)));
}

HALFTONE_HD float dequantize(int32_t code, const Grid& g) {
  return g.scale * static_cast<float>(code - g.zero_point);
}

// There and back without the integer; low = qmin - z, high = qmax - z.
template <class V>
HALFTONE_HD V fake_quantize(V x, V scale, V low, V high) {
  return scale * clamp_nan_low(round_even(x / scale), low, high);
}
// The same by kNni, z as a float.
template <class V>
HALFTONE_HD V fake_quantize_nni(V x, V scale, V z, V qmin, V qmax) {
  return scale * (round_even(clamp_nan_low(z + x / scale, qmin, qmax)) - z);
}

// NNI's NaiveQuantizer: towards zero, z = 0, saturating; NaN becomes 0.
HALFTONE_HD float fake_quantize_truncate(float x, const Grid& g) {
  const float t = truncf(x / g.scale), low = static_cast<float>(g.qmin);
  return t == t ? clamp_nan_low(t, low, static_cast<float>(g.qmax)) * g.scale : 0.0f;
}

// Straight-through mask: PyTorch's and NNI's rule, on the rounded code.
HALFTONE_HD bool ste_mask(float x, const Grid& g) {
  const float t = rintf(x / g.scale), z = static_cast<float>(g.zero_point);
  return (t >= g.qmin - z) & (t <= g.qmax - z);  // no branch: vectorises
}

HALFTONE_HD bool ste_mask_nni(float x, const Grid& g) {
  const float t = rintf(x / g.scale + static_cast<float>(g.zero_point));
  return (t >= static_cast<float>(g.qmin)) & (t <= static_cast<float>(g.qmax));
}

// dy where the mask lets it pass, else 0; arguments as fake_quantize's.
template <class V>
HALFTONE_HD V ste_gradient(V dy, V x, V scale, V low, V high) {
  const V t = round_even(x / scale), zero(0.0f);
  return select(t >= low, select(t <= high, dy, zero), zero);
}
template <class V>
HALFTONE_HD V ste_gradient_nni(V dy, V x, V scale, V z, V qmin, V qmax) {
  const V t = round_even(x / scale + z), zero(0.0f);
  return select(t >= qmin, select(t <= qmax, dy, zero), zero);
}

// ---- ranges to grids ----

struct GridRule {
  int bits = 8;            // 1 to 16
  bool is_signed = false;  // narrow: -(2^(b-1) - 1) .. 2^(b-1) - 1; else 0 .. 2^b - 1
  bool symmetric = false;
  bool nni = false;  // zero point of unsigned symmetric: 127 of 8 bits; else 128
};

HALFTONE_HD Grid empty_grid(const GridRule& rule) {
  Grid g;
  g.qmax = rule.is_signed ? (1 << (rule.bits - 1)) - 1 : (1 << rule.bits) - 1;
  g.qmin = rule.is_signed ? -g.qmax : 0;
  g.zero_point = rule.is_signed ? 0 : (rule.symmetric ? (g.qmax + (rule.nni ? 0 : 1)) / 2 : 0);
  return g;
}

// The range is widened to hold 0 and narrowed to what a float difference can hold.
HALFTONE_HD Grid choose_grid(float low, float high, const GridRule& rule) {
  constexpr float kLargest = 0x1p126f;
  low = clamp_nan_low(low, -kLargest, 0.0f);
  high = high > 0.0f ? (high < kLargest ? high : kLargest) : 0.0f;
  Grid g = empty_grid(rule);
  const float steps = static_cast<float>(g.qmax - g.qmin);
  if (rule.symmetric) {
    g.scale = (-low > high ? -low : high) / (steps / 2.0f);
    g.scale = g.scale > kScaleFloor ? g.scale : kScaleFloor;
    return g;
  }
  g.scale = (high - low) / steps;
  g.scale = g.scale > kScaleFloor ? g.scale : kScaleFloor;
  const float qmin = static_cast<float>(g.qmin), qmax = static_cast<float>(g.qmax);
  g.zero_point = static_cast<int32_t>(clamp_nan_low(qmin - rintf(low / g.scale), qmin, qmax));
  return g;
}

// Exponential moving average: two products and a sum.
HALFTONE_HD float ema(float tracked, float current, double decay) {
  const float a = tracked * static_cast<float>(decay);
  const float b = current * static_cast<float>(1.0 - decay);
  return a + b;
}

// ---- the epilogue: accumulators to codes ----

// Constants of one output channel.
struct Channel {
  int32_t keep = -1;        // 0: a constant channel, whose accumulator does not count
  int32_t bias = 0;         // b_q, |b_q| <= 2^30
  float multiplier = 1.0f;  // m_c; fl(s_x * s_w') where the output stays float
};

// fl(fl(acc + b_q) * m_c), in units of the output's scale. The caller has checked |acc + b_q| <
// 2^31.
HALFTONE_HD float scaled(int32_t acc, int32_t keep, int32_t bias, float multiplier) {
  return static_cast<float>((acc & keep) + bias) * multiplier;
}

// low = lo - z, high = hi - z of the code range that the activation leaves.
HALFTONE_HD int32_t epilogue(int32_t acc, const Channel& c, float low, float high,
                             int32_t zero_point) {
  const float t = rintf(scaled(acc, c.keep, c.bias, c.multiplier));
  return static_cast<int32_t>(clamp_nan_low(t, low, high)) + zero_point;
}

// Logits, and every output that nobody quantizes; the activation's bounds as reals.
HALFTONE_HD float epilogue_float(int32_t acc, const Channel& c, float low, float high) {
  const float t = scaled(acc, c.keep, c.bias, c.multiplier);
  return t < low ? low : (t > high ? high : t);  // NaN stays
}

// Where the gradient passes: strictly inside the activation (its derivative is 0 at the kinks), and
// a rounded code inside the quantizer's range. In the units of scaled().
struct Pass {
  float act_low = -INFINITY, act_high = INFINITY;
  float code_low = -INFINITY, code_high = INFINITY;
};

HALFTONE_HD bool passes(float t, const Pass& p) {
  const float r = rintf(t);
  return (t > p.act_low) & (t < p.act_high) & (r >= p.code_low) & (r <= p.code_high);
}

// ---- batch norm folded into the scale ----

struct FoldInput {
  bool normalised = false;  // false: gamma, mean, variance and eps do not count
  double gamma = 1, beta = 0, mean = 0, variance = 1, eps = 0;
  double bias = 0;  // of the convolution; 0 with the batch's statistics, under which it cancels
  float input_scale = 1;   // s_x
  float weight_scale = 1;  // s_w of the raw weight, as stored
  float output_scale = 0;  // s_y; 0 where the output stays float
};

struct Folded {
  double sigma = 1;        // sqrt(variance + eps)
  double ratio = 1;        // gamma / sigma
  double offset = 0;       // the real value at accumulator 0
  float weight_scale = 1;  // s_w' = s_w |gamma / sigma|
  float unit = 1;          // fl(s_x * s_w'): one accumulator step; also the scale of the bias
  bool constant = false;   // gamma 0, or |b_q| past 2^30: the channel is its offset
  Channel channel;
};

// NaN becomes 0, the rest is clamped to what fits.
HALFTONE_HD int32_t to_bias(double steps) {
  if (!(steps > -0x1p30)) return steps == steps ? -(1 << 30) : 0;
  return steps < 0x1p30 ? static_cast<int32_t>(steps) : 1 << 30;
}

// A constant is stored as about 2^22 steps of a scale made for it.
HALFTONE_HD void make_constant(Folded& f, float input_scale) {
  f.constant = true;
  f.channel.keep = 0;
  const double size = f.offset < 0 ? -f.offset : f.offset;
  const double scale = size / (static_cast<double>(input_scale) * 4194304.0);
  f.weight_scale = scale > 1e-30 ? static_cast<float>(scale) : 1.0f;
  f.unit = input_scale * f.weight_scale;
  f.channel.bias = scale > 1e-30 ? to_bias(rint(f.offset / f.unit)) : 0;
}

// The one function behind every b_q and m_c, in double precision. Weight codes are negated where
// gamma < 0, so s_w' is never negative.
HALFTONE_HD Folded fold(const FoldInput& in) {
  Folded f;
  if (in.normalised) {
    f.sigma = sqrt(in.variance + in.eps);
    f.ratio = in.gamma / f.sigma;
    f.offset = in.beta + f.ratio * (in.bias - in.mean);
  } else {
    f.offset = in.bias;
  }
  const double size = f.ratio < 0 ? -f.ratio : f.ratio;
  f.weight_scale = static_cast<float>(static_cast<double>(in.weight_scale) * size);
  f.unit = in.input_scale * f.weight_scale;
  const double steps = rint(f.offset / static_cast<double>(f.unit));
  if (!(f.unit >= 0x1p-126f) || steps > 0x1p30 || steps < -0x1p30) {
    make_constant(f, in.input_scale);
  } else {
    f.channel.bias = to_bias(steps);
  }
  f.channel.multiplier = in.output_scale > 0 ? f.unit / in.output_scale : f.unit;
  // Shown in a float output; a code output would hide it, so callers check ratio and offset.
  if (f.offset != f.offset || f.ratio != f.ratio) f.channel.multiplier = NAN;
  return f;
}

}  // namespace halftone::quant_math
