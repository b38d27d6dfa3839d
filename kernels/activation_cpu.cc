#include <string>

#include "kernels/activation_math.h"
#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/parallel.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kGrain = 32768;  // elements: below it a second thread costs more than it saves

}  // namespace

void check_activation(const ActivationOptions& options, bool backward) {
  if (options.kind == Activation::kHardtanh && !(options.low < options.high)) {
    throw HALFTONE_ERROR("hardtanh")
        .expected("low < high")
        .found("low " + std::to_string(options.low) + ", high " + std::to_string(options.high));
  }
  if (backward && options.kind == Activation::kLeakyReLU && !(options.slope >= 0.0f)) {
    throw HALFTONE_ERROR("leaky_relu backward")
        .expected("a slope of at least 0: the gradient is computed from the output's sign")
        .found(std::to_string(options.slope));
  }
}

void activation(const Tensor& x, const ActivationOptions& options, Tensor& y) {
  check_same("activation", x, y);
  check_activation(options, false);
  HALFTONE_ON_DEVICE(activation, x, x, options, y);
  const float* in = x.data<float>();
  float* out = y.data<float>();
  with_rule(options, [&](auto rule) {
    parallel_for(x.context(), x.numel(), kGrain, [=](int64_t begin, int64_t end) {
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) out[i] = rule.forward(in[i]);
    });
  });
}

void add_activation(const Tensor& a, const Tensor& b, const ActivationOptions& options, Tensor& y) {
  check_same("add", a, b);
  check_same("add", a, y);
  check_activation(options, false);
  HALFTONE_ON_DEVICE(add_activation, a, a, b, options, y);
  const float *left = a.data<float>(), *right = b.data<float>();
  float* out = y.data<float>();
  with_rule(options, [&](auto rule) {
    parallel_for(a.context(), a.numel(), kGrain, [=](int64_t begin, int64_t end) {
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) out[i] = rule.forward(left[i] + right[i]);
    });
  });
}

void activation_backward(const Tensor& dy, const Tensor& y, const ActivationOptions& options,
                         Tensor& dx) {
  check_same("activation backward", dy, y);
  check_same("activation backward", dy, dx);
  check_activation(options, true);
  HALFTONE_ON_DEVICE(activation_backward, dy, dy, y, options, dx);
  const float *g = dy.data<float>(), *out = y.data<float>();
  float* result = dx.data<float>();
  with_rule(options, [&](auto rule) {
    parallel_for(dy.context(), dy.numel(), kGrain, [=](int64_t begin, int64_t end) {
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) result[i] = rule.backward(g[i], out[i]);
    });
  });
}

}  // namespace halftone::kernels
