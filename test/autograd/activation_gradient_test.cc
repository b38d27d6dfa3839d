// Gradients of elementwise ops and softmax, and the values at the kinks.
#include <catch2/catch.hpp>

#include "autograd/ops.h"
#include "test/autograd/gradcheck.h"

using namespace halftone;
using namespace halftone::test;

namespace {

Variable leaf(const std::vector<float>& values) {
  const Context context;
  const Shape shape{static_cast<int64_t>(values.size())};
  return Variable(Tensor::from<float>(context, shape, values), true);
}

std::vector<float> slopes_at(const std::vector<float>& values, const ActivationOptions& options) {
  const Variable x = leaf(values);
  sum(activation(x, options)).backward();
  return x.grad().to_vector<float>();
}

}  // namespace

TEST_CASE("gradient of every activation") {
  const Context context;
  ActivationOptions options;
  options.kind = GENERATE(Activation::kIdentity, Activation::kReLU, Activation::kReLU6,
                          Activation::kHardtanh, Activation::kLeakyReLU, Activation::kSigmoid);
  INFO("activation " << int(options.kind));
  const Tensor x = spaced_tensor(context, {5, 60}, 1);  // -7.5 to 7.5: both sides of each kink
  const auto f = [&](const std::vector<Variable>& v) { return activation(v[0], options); };
  CHECK(gradient_error(f, {x}) < kTolerance);
}

TEST_CASE("gradient of hardtanh with bounds of its own and of a steep leaky_relu") {
  const Context context;
  const Tensor x = spaced_tensor(context, {5, 20}, 2);
  const ActivationOptions bounded{Activation::kHardtanh, -2.0f, 0.5f, 0.01f};
  const ActivationOptions steep{Activation::kLeakyReLU, -1.0f, 1.0f, 2.5f};
  const ActivationOptions options = GENERATE_COPY(bounded, steep);
  const auto f = [&](const std::vector<Variable>& v) { return activation(v[0], options); };
  CHECK(gradient_error(f, {x}) < kTolerance);
}

TEST_CASE("at a kink the gradient is PyTorch's") {
  CHECK(slopes_at({-1, 0, 1}, {Activation::kReLU}) == std::vector<float>{0, 0, 1});
  CHECK(slopes_at({0, 3, 6, 7}, {Activation::kReLU6}) == std::vector<float>{0, 1, 0, 0});
  CHECK(slopes_at({-1, 0, 1}, {Activation::kHardtanh}) == std::vector<float>{0, 1, 0});
  const ActivationOptions leaky{Activation::kLeakyReLU, -1.0f, 1.0f, 0.25f};
  CHECK(slopes_at({-1, 0, 1}, leaky) == std::vector<float>{0.25f, 0.25f, 1});
}

TEST_CASE("leaky_relu refuses a negative slope only where a gradient is wanted") {
  const ActivationOptions options{Activation::kLeakyReLU, -1.0f, 1.0f, -0.5f};
  CHECK_THROWS_WITH(activation(leaf({1}), options), Catch::Contains("negative_slope"));
  const NoGrad no_grad;
  CHECK(activation(leaf({-1}), options).value().item<float>() == 0.5f);
}

TEST_CASE("gradients of sums, products and scaling") {
  const Context context;
  const std::vector<Tensor> two{random_tensor(context, {2, 3, 4}, 1),
                                random_tensor(context, {2, 3, 4}, 2)};
  const std::vector<Tensor> one{two[0]};
  using Inputs = std::vector<Variable>;
  CHECK(gradient_error([](const Inputs& v) { return add(v[0], v[1]); }, two) < kTolerance);
  CHECK(gradient_error([](const Inputs& v) { return mul(v[0], v[1]); }, two) < kTolerance);
  CHECK(gradient_error([](const Inputs& v) { return scale(v[0], -2.5f); }, one) < kTolerance);
  CHECK(gradient_error([](const Inputs& v) { return sum(v[0]); }, one) < kTolerance);
  CHECK(gradient_error([](const Inputs& v) { return mean(v[0]); }, one) < kTolerance);
}

TEST_CASE("gradients of softmax and log_softmax") {
  const Context context;
  const std::vector<Tensor> x{random_tensor(context, {3, 5}, 1)};
  using Inputs = std::vector<Variable>;
  CHECK(gradient_error([](const Inputs& v) { return softmax(v[0]); }, x) < kTolerance);
  CHECK(gradient_error([](const Inputs& v) { return log_softmax(v[0]); }, x) < kTolerance);
}

TEST_CASE("gradient of dropout is the forward's mask") {
  const Context context;
  const auto f = [&](const std::vector<Variable>& v) {
    context.random().next = 7;  // every run draws the same stream
    return dropout(v[0], 0.4f, true);
  };
  CHECK(gradient_error(f, {random_tensor(context, {4, 25}, 1)}) < kTolerance);
}

TEST_CASE("dropout passes its input through in evaluation and takes no stream") {
  const Context context;
  const Variable x(random_tensor(context, {8}, 1), true);
  CHECK(dropout(x, 0.5f, false).same(x));
  CHECK(dropout(x, 0.0f, true).same(x));
  CHECK(context.random().next == 0);
  CHECK_FALSE(dropout(x, 0.5f, true).same(x));
  CHECK(context.random().next == 1);
  CHECK_THROWS_WITH(dropout(x, 1.5f, true), Catch::Contains("[0, 1]"));
}
