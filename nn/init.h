// Initialisation: PyTorch's formulas (torch.nn.init), random numbers from the context's state.
#pragma once

#include "nn/module.h"

namespace halftone::init {

// Of a convolution (O, kh, kw, I/groups) or linear (out, in) weight: receptive field times inputs
// or outputs per weight.
struct Fans {
  int64_t in, out;
};
Fans fans(const Shape& weight);

void uniform(Tensor& t, float low, float high);
void normal(Tensor& t, float mean, float deviation);

enum class FanMode : uint8_t { kFanIn, kFanOut };
// He et al. 2015 for a leaky ReLU of negative slope a: gain = sqrt(2 / (1 + a^2)),
// uniform bound gain * sqrt(3 / fan), normal deviation gain / sqrt(fan).
void kaiming_uniform(Tensor& weight, double a = 0.0, FanMode mode = FanMode::kFanIn);
void kaiming_normal(Tensor& weight, double a = 0.0, FanMode mode = FanMode::kFanIn);
// Glorot and Bengio 2010, gain 1: bound sqrt(6 / (in + out)), deviation sqrt(2 / (in + out)).
void xavier_uniform(Tensor& weight);
void xavier_normal(Tensor& weight);

// What Conv2d and Linear start with: weight kaiming_uniform(a = sqrt 5), so that both weight and
// bias (may be null) are uniform within 1 / sqrt(fan_in).
void torch_default(Tensor& weight, Tensor* bias);

// Over all Conv2d and Linear of a model: "default", "kaiming_uniform", "kaiming_normal",
// "xavier_uniform" or "xavier_normal". All but "default" set biases to zero.
void apply(Module& model, const std::string& name);
std::vector<std::string> names();

}  // namespace halftone::init
