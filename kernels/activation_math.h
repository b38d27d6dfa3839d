// The activations as inline rules, for loops that the compiler vectorises and for CUDA kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/activation.h"
#include "kernels/integer/host_device.h"
#include "tensor/error.h"

namespace halftone::kernels {

// A rule has forward(x) and backward(dy, y): the gradient from the output. NaN passes through
// forward, and where PyTorch lets the gradient through at a NaN, so does backward.
struct IdentityRule {
  static constexpr bool kReadsOutput = false;
  HALFTONE_HD float forward(float x) const { return x; }
  HALFTONE_HD float backward(float dy, float) const { return dy; }
};

struct ReLURule {
  static constexpr bool kReadsOutput = true;
  HALFTONE_HD float forward(float x) const { return x < 0.0f ? 0.0f : x; }
  HALFTONE_HD float backward(float dy, float y) const { return y <= 0.0f ? 0.0f : dy; }
};

struct ClampRule {
  static constexpr bool kReadsOutput = true;
  float low, high;
  HALFTONE_HD float forward(float x) const {
    const float raised = x < low ? low : x;
    return raised > high ? high : raised;
  }
  // Two selects: gcc makes one masked blend of them, branches of `||`.
  HALFTONE_HD float backward(float dy, float y) const {
    const float kept = y <= low ? 0.0f : dy;
    return y >= high ? 0.0f : kept;
  }
};

struct LeakyReLURule {
  static constexpr bool kReadsOutput = true;
  float slope;
  HALFTONE_HD float forward(float x) const { return x > 0.0f ? x : x * slope; }
  HALFTONE_HD float backward(float dy, float y) const { return y > 0.0f ? dy : dy * slope; }
};

struct SigmoidRule {
  static constexpr bool kReadsOutput = true;
  HALFTONE_HD float forward(float x) const { return 1.0f / (1.0f + std::exp(-x)); }
  HALFTONE_HD float backward(float dy, float y) const { return dy * (1.0f - y) * y; }
};

// backward(dy, forward(x)). A bound or a kink that binds x binds the output as well, so the output
// need not be computed (and gcc finds no branches to make of it).
template <class Rule>
HALFTONE_HD float backward_from_input(const Rule& rule, float dy, float x) {
  return rule.backward(dy, x);
}
HALFTONE_HD float backward_from_input(const SigmoidRule& rule, float dy, float x) {
  return rule.backward(dy, rule.forward(x));
}

// ReLU, ReLU6 and Hardtanh as the bounds of a ClampRule. A NaN bound does not bind: comparisons
// with it are false. Throws for the other activations.
inline ClampRule clamp_of(const ActivationOptions& options) {
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  switch (options.kind) {
    case Activation::kIdentity:
      return {kNone, kNone};
    case Activation::kReLU:
      return {0.0f, kNone};
    case Activation::kReLU6:
      return {0.0f, 6.0f};
    case Activation::kHardtanh:
      return {options.low, options.high};
    default:
      throw HALFTONE_ERROR("activation").expected("ReLU, ReLU6 or Hardtanh").found("another one");
  }
}

// Calls body(rule) with the rule of the options.
template <class Body>
void with_rule(const ActivationOptions& options, Body body) {
  switch (options.kind) {
    case Activation::kIdentity:
      return body(IdentityRule{});
    case Activation::kReLU:
      return body(ReLURule{});
    case Activation::kReLU6:
      return body(ClampRule{0.0f, 6.0f});
    case Activation::kHardtanh:
      return body(ClampRule{options.low, options.high});
    case Activation::kLeakyReLU:
      return body(LeakyReLURule{options.slope});
    case Activation::kSigmoid:
      return body(SigmoidRule{});
  }
}

// Throws for options that no derivative, or no function, belongs to.
void check_activation(const ActivationOptions& options, bool backward);

}  // namespace halftone::kernels
