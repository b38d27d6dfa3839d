// Optimizer steps, one element at a time: PyTorch's formulas and order of operations.
#pragma once

#include <math.h>

#include <string>

#include "kernels/integer/host_device.h"
#include "kernels/optimizer.h"
#include "tensor/error.h"

namespace halftone::kernels {

inline void check_sgd(const SgdOptions& o) {
  if (!o.nesterov || (o.momentum > 0.0 && o.dampening == 0.0)) return;
  throw HALFTONE_ERROR("sgd")
      .expected("momentum above 0 and dampening 0 with Nesterov")
      .found("momentum " + std::to_string(o.momentum) + ", dampening " +
             std::to_string(o.dampening));
}

inline void check_adam(const AdamOptions& o) {
  if (o.step >= 1) return;
  throw HALFTONE_ERROR("adam").expected("a step of 1 or more").found(std::to_string(o.step));
}

// torch.optim.SGD: d = g + wd p; b = m b + (1 - dampening) d; d = d + m b or b; p = p - lr d.
struct SgdConstants {
  float decay, momentum, take, ahead, minus_lr;
  bool first;
};

inline SgdConstants sgd_constants(const SgdOptions& o) {
  SgdConstants c;
  c.decay = static_cast<float>(o.weight_decay);
  c.momentum = static_cast<float>(o.first_step ? 0.0 : o.momentum);
  c.take = static_cast<float>(o.first_step ? 1.0 : 1.0 - o.dampening);
  c.ahead = static_cast<float>(o.momentum);
  c.minus_lr = static_cast<float>(-o.lr);
  c.first = o.first_step;
  return c;
}

template <bool kMomentum, bool kNesterov>
HALFTONE_HD void sgd_element(const SgdConstants& c, float grad, float& p, float& buffer) {
  float d = grad + c.decay * p;
  if (kMomentum) {
    // The old buffer is not read into the result on the first step: it may hold anything.
    const float kept = c.first ? 0.0f : buffer * c.momentum;
    const float b = kept + c.take * d;
    buffer = b;
    d = kNesterov ? d + c.ahead * b : b;
  }
  p += c.minus_lr * d;
}

struct AdamConstants {
  float keep_weight, decay, take1, beta2, take2, eps, minus_step;
};

inline AdamConstants adam_constants(const AdamOptions& o) {
  const double step = static_cast<double>(o.step);
  const double correction1 = 1.0 - pow(o.beta1, step);
  const double correction2 = 1.0 - pow(o.beta2, step);
  AdamConstants c;
  c.keep_weight = static_cast<float>(o.decoupled ? 1.0 - o.lr * o.weight_decay : 1.0);
  c.decay = static_cast<float>(o.decoupled ? 0.0 : o.weight_decay);
  c.take1 = static_cast<float>(1.0 - o.beta1);
  c.beta2 = static_cast<float>(o.beta2);
  c.take2 = static_cast<float>(1.0 - o.beta2);
  // m / (sqrt(v) / root + eps) with both sides of the fraction times root: one division less.
  const double root = sqrt(correction2);
  c.eps = static_cast<float>(o.eps * root);
  c.minus_step = static_cast<float>(-(o.lr / correction1) * root);
  return c;
}

// torch's lerp: the end that is nearer is the one that is corrected.
template <bool kNearStart>
HALFTONE_HD float adam_lerp(float start, float end, float weight) {
  const float difference = end - start;
  return kNearStart ? start + weight * difference : end - difference * (1.0f - weight);
}

// kNearStart: take1 < 0.5.
template <bool kNearStart>
HALFTONE_HD void adam_element(const AdamConstants& c, float grad, float& p, float& m, float& v) {
  const float weight = p * c.keep_weight;
  const float g = grad + c.decay * p;
  const float first = adam_lerp<kNearStart>(m, g, c.take1);
  const float second = v * c.beta2 + c.take2 * g * g;
  const float denominator = sqrtf(second) + c.eps;
  m = first;
  v = second;
  p = weight + c.minus_step * first / denominator;
}

}  // namespace halftone::kernels
