#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "autograd/ops.h"
#include "test/autograd/gradcheck.h"

using namespace halftone;
using namespace halftone::test;

namespace {

struct Setup {
  Context context;
  Tensor running_mean = random_tensor(context, {3}, 11);
  Tensor running_var = Tensor::full(context, {3}, 1.5f);
  std::vector<Tensor> inputs{random_tensor(context, {2, 3, 2, 3}, 7),
                             random_tensor(context, {3}, 32), random_tensor(context, {3}, 33)};

  Function function(const BatchNormOptions& options, bool affine = true) {
    return [this, options, affine](const std::vector<Variable>& v) {
      return batch_norm(v[0], affine ? v[1] : Variable(), affine ? v[2] : Variable(), running_mean,
                        running_var, options);
    };
  }

  // How near the normalised values come to a kink.
  float distance_to(float kink, const BatchNormOptions& fused) {
    BatchNormOptions plain = fused;
    plain.act = {};
    NoGrad no_grad;
    std::vector<Variable> v;
    for (const Tensor& t : inputs) v.emplace_back(t);
    float least = 1e9f;
    for (float y : function(plain)(v).value().to_vector<float>()) {
      least = std::min(least, std::abs(y - kink));
    }
    return least;
  }
};

}  // namespace

TEST_CASE("gradient of batch_norm") {
  Setup s;
  BatchNormOptions options;
  options.training = GENERATE(true, false);
  INFO((options.training ? "training" : "evaluation"));
  CHECK(gradient_error(s.function(options), s.inputs) < kTolerance);
  CHECK(gradient_error(s.function(options, false), {s.inputs[0]}) < kTolerance);
}

TEST_CASE("gradient of batch_norm with a fused activation") {
  Setup s;
  BatchNormOptions options;
  options.training = GENERATE(true, false);
  options.act.kind = GENERATE(Activation::kReLU, Activation::kReLU6, Activation::kHardtanh,
                              Activation::kLeakyReLU, Activation::kSigmoid);
  INFO((options.training ? "training" : "evaluation") << " activation " << int(options.act.kind));
  // The inputs were chosen so that no probe crosses a kink.
  const bool hardtanh = options.act.kind == Activation::kHardtanh;
  for (float kink : hardtanh ? std::vector<float>{-1, 1} : std::vector<float>{0, 6}) {
    if (options.act.kind == Activation::kSigmoid) break;
    REQUIRE(s.distance_to(kink, options) > 0.02f);
  }
  CHECK(gradient_error(s.function(options), s.inputs) < kTolerance);
}

TEST_CASE("batch_norm gives parameters a gradient where the input wants none") {
  Setup s;
  const Variable x(s.inputs[0]);
  const Variable weight(s.inputs[1], true), bias(s.inputs[2], true);
  const BatchNormOptions options;
  sum(batch_norm(x, weight, bias, s.running_mean, s.running_var, options)).backward();
  CHECK(bias.grad().to_vector<float>() == std::vector<float>{12, 12, 12});
  CHECK(weight.grad().defined());
  CHECK_FALSE(x.grad().defined());
}

TEST_CASE("batch_norm updates the running statistics in training only") {
  const Context context;
  Tensor mean = Tensor::zeros(context, {1}), variance = Tensor::full(context, {1}, 1.0f);
  const Variable x(Tensor::from<float>(context, {4, 1}, {1, 3, 5, 7}));
  BatchNormOptions options;
  options.momentum = 0.5f;
  options.training = false;
  batch_norm(x, Variable(), Variable(), mean, variance, options);
  CHECK(mean.item<float>() == 0.0f);
  CHECK(variance.item<float>() == 1.0f);
  options.training = true;
  batch_norm(x, Variable(), Variable(), mean, variance, options);
  CHECK(mean.item<float>() == 2.0f);                              // half of 4
  CHECK(variance.item<float>() == Approx(0.5 + 0.5 * 20 / 3.0));  // unbiased: 20 / 3
}

TEST_CASE("a backward in evaluation mode uses the statistics of its forward") {
  Setup s;
  const Variable x(s.inputs[0], true);
  BatchNormOptions options;
  options.training = false;
  options.eps = 0.0f;
  Variable y = sum(batch_norm(x, Variable(), Variable(), s.running_mean, s.running_var, options));
  s.running_var.fill(100.0f);  // as a later training step would
  y.backward();
  for (float g : x.grad().to_vector<float>()) CHECK(g == Approx(1 / std::sqrt(1.5)).epsilon(1e-6));
}

TEST_CASE("batch_norm refuses what has no statistics") {
  const Context context;
  Tensor mean = Tensor::zeros(context, {3}), variance = Tensor::full(context, {3}, 1.0f), none;
  const Variable single(Tensor::zeros(context, {1, 3}));
  BatchNormOptions options;
  CHECK_THROWS_WITH(batch_norm(single, Variable(), Variable(), mean, variance, options),
                    Catch::Contains("more than one value per channel"));
  options.training = false;
  CHECK_THROWS_WITH(batch_norm(single, Variable(), Variable(), none, none, options),
                    Catch::Contains("running statistics"));
}
