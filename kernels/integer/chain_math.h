// Constants of a layer that computes on codes: what the host finds for the CPU and a device finds
// for itself, a channel at a time (docs: quant/chain_step.h, quant/device_chain.h).
#pragma once

#include "kernels/integer/lsq_math.h"

namespace halftone::quant_math {

// std::max and std::min.
HALFTONE_HD float larger(float a, float b) { return a < b ? b : a; }
HALFTONE_HD float smaller(float a, float b) { return b < a ? b : a; }

// ---- weights ----

// s_w of codes that are stored shifted left: 2^shift times finer. Exact.
HALFTONE_HD float stored_scale(float weight_scale, int shift) {
  return ldexpf(weight_scale, -shift);
}

// The real value of one accumulator step; negative where a row's codes are stored negated.
HALFTONE_HD double accumulator_unit(float input_scale, float stored, bool negated) {
  const double unit = static_cast<double>(input_scale) * static_cast<double>(stored);
  return negated ? -unit : unit;
}

// ---- statistics of accumulators ----

HALFTONE_HD double accumulator_mean(int64_t count, int64_t sum) {
  return static_cast<double>(sum) / static_cast<double>(count);
}

// Biased. count^2 times the variance is an integer: count < 2^32 and |acc| < 2^30 keep it below
// 2^125.
HALFTONE_HD double accumulator_variance(int64_t count, int64_t sum, __int128 sum_squares) {
  const __int128 scaled = sum_squares * count - static_cast<__int128>(sum) * sum;
  return static_cast<double>(scaled) / (static_cast<double>(count) * static_cast<double>(count));
}

// ---- the output ----

struct CodeBounds {
  float low, high;
};
// [low, high] of the codes less their zero point, behind an activation with these bounds in steps.
HALFTONE_HD CodeBounds code_bounds(float low, float high, float act_low, float act_high) {
  low = larger(low, rintf(act_low));
  return {low, larger(low, smaller(high, rintf(act_high)))};
}

// Where a quantizer's gradient passes.
enum class PassRule : uint8_t {
  kCodes,  // where the rounded code lies in the range
  kOpen,   // strictly inside the range, unrounded (LSQ)
  kFixed,  // where the rule says, in steps
};

struct OutputRule {
  float act_low = -INFINITY, act_high = INFINITY;  // the activation's bounds, as reals
  PassRule pass = PassRule::kCodes;
  Pass fixed;           // kFixed
  bool offset = false;  // LSQ+
};

// What an epilogue and its backward know of their output's grid.
struct OutputGrid {
  float scale = 1;
  int32_t zero_point = 0;                          // of the codes as they are stored
  float low = 0, high = 255;                       // less zero_point, behind the activation
  float act_low = -INFINITY, act_high = INFINITY;  // the activation's bounds in steps
  Pass pass;                                       // in steps
  LsqRule rule;                                    // of a learned grid, in steps
};

// g: the quantizer's codes, stored `up` higher than they are.
HALFTONE_HD OutputGrid output_grid(const Grid& g, int32_t up, const OutputRule& r) {
  OutputGrid o;
  o.scale = g.scale;
  o.zero_point = g.zero_point;
  const float low = static_cast<float>(g.qmin - g.zero_point);
  const float high = static_cast<float>(g.qmax - g.zero_point);
  o.act_low = r.act_low / g.scale;
  o.act_high = r.act_high / g.scale;
  const CodeBounds bounds = code_bounds(low, high, o.act_low, o.act_high);
  o.low = bounds.low, o.high = bounds.high;
  if (r.pass == PassRule::kCodes) o.pass.code_low = low, o.pass.code_high = high;
  if (r.pass == PassRule::kOpen) o.pass.act_low = low, o.pass.act_high = high;
  if (r.pass == PassRule::kFixed) o.pass = r.fixed;
  o.pass.act_low = larger(o.pass.act_low, o.act_low);
  o.pass.act_high = smaller(o.pass.act_high, o.act_high);
  const Grid own{g.scale, g.zero_point - up, g.qmin - up, g.qmax - up};
  o.rule = r.offset ? lsq_plus_rule(own) : lsq_rule(own);
  o.rule.scale = 1;
  return o;
}

// ---- gradients ----

// xhat = step (acc - centre), and gamma / sigma.
struct Normalised {
  double step = 1, ratio = 1;
  float centre = 0;
};

// dacc = a g + b (acc - centre) + d, and the gradients of a channel's parameters.
struct ChannelGradient {
  double dgamma, dbeta, dbias;
  float a, b, d;
};
// sum, sum_centred: of g and of g (acc - centre), over `count` values.
HALFTONE_HD ChannelGradient channel_gradient(const Normalised& n, double sum, double sum_centred,
                                             bool batch_statistics, double count) {
  ChannelGradient k;
  k.dbeta = sum;
  k.dgamma = n.step * sum_centred;
  k.dbias = batch_statistics ? 0.0 : n.ratio * k.dbeta;
  k.a = static_cast<float>(n.ratio);
  k.b = batch_statistics ? static_cast<float>(-n.ratio * k.dgamma * n.step / count) : 0.0f;
  k.d = batch_statistics ? static_cast<float>(-n.ratio * k.dbeta / count) : 0.0f;
  return k;
}

}  // namespace halftone::quant_math
