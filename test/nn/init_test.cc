// Bounds and deviations are PyTorch's (init_numbers.safetensors).
#include "nn/init.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "nn/layers.h"
#include "test/nn/torch_numbers.h"

namespace halftone {
namespace {

double deviation(const Tensor& t) {
  double squares = 0.0;
  for (float v : t.to_vector<float>()) squares += static_cast<double>(v) * v;
  return std::sqrt(squares / static_cast<double>(t.numel()));
}

double largest(const Tensor& t) {
  double result = 0.0;
  for (float v : t.to_vector<float>()) result = std::max(result, std::fabs(static_cast<double>(v)));
  return result;
}

// Uniform within `bound`: nothing outside; with at least 960 values the largest is above 0.98 bound
// but with probability 0.98^960 = 4e-9.
void check_uniform(const Tensor& t, double bound) {
  CHECK(largest(t) <= bound * (1 + 1e-6));
  CHECK(largest(t) > 0.98 * bound);
  CHECK(deviation(t) == Approx(bound / std::sqrt(3.0)).epsilon(0.1));
}

// The deviation of n normal values has a relative error of 1 / sqrt(2 n): 2.3 % at n = 960.
void check_normal(const Tensor& t, double wanted) {
  CHECK(deviation(t) == Approx(wanted).epsilon(0.1));
  CHECK(largest(t) > 2.5 * wanted);
}

struct Fixture {
  Context context;
  Sequential net{context,
                 {make<Conv2d>(context, Conv2dArgs{8, 16, 3, 1, 0, 1, 1, true, 5}),
                  make<Linear>(context, 40, 24)}};
  test::TorchNumbers numbers{context, "init_numbers"};
  Conv2d& conv = dynamic_cast<Conv2d&>(*net.find("0"));
  Linear& linear = dynamic_cast<Linear&>(*net.find("1"));
  float number(const std::string& layer, size_t i) {
    return numbers.at(layer).to_vector<float>().at(i);
  }
};

TEST_CASE("Conv2d and Linear start as PyTorch's do") {
  Fixture f;
  check_uniform(f.conv.weight.value(), f.number("conv", 0));
  check_uniform(f.linear.weight.value(), f.number("linear", 0));
  CHECK(largest(f.conv.bias.value()) <= f.number("conv", 0));
  CHECK(largest(f.conv.bias.value()) > 0.5 * f.number("conv", 0));  // of 16 values
}

TEST_CASE("Kaiming and Xavier have PyTorch's bounds and deviations, and zero biases") {
  Fixture f;
  const auto check = [&](const std::string& name, auto check_one, size_t i) {
    INFO(name);
    init::apply(f.net, name);
    check_one(f.conv.weight.value(), f.number("conv", i));
    check_one(f.linear.weight.value(), f.number("linear", i));
    CHECK(largest(f.conv.bias.value()) == 0.0);
    CHECK(largest(f.linear.bias.value()) == 0.0);
  };
  check("kaiming_uniform", check_uniform, 1);
  check("kaiming_normal", check_normal, 2);
  check("xavier_uniform", check_uniform, 3);
  check("xavier_normal", check_normal, 4);
  init::apply(f.net, "default");
  check_uniform(f.linear.weight.value(), f.number("linear", 0));
  CHECK(largest(f.linear.bias.value()) > 0.0);
}

TEST_CASE("one seed gives one set of weights, whatever the threads; another seed another") {
  const auto weights = [](uint64_t seed, int threads) {
    ContextOptions options;
    options.seed = seed;
    options.threads = threads;
    return Linear(Context(options), 200, 100).weight.value().to_vector<float>();
  };
  CHECK(weights(1, 1) == weights(1, 2));
  CHECK(weights(1, 1) != weights(2, 1));
}

TEST_CASE("an unknown rule names the nearest") {
  Fixture f;
  CHECK_THROWS_WITH(init::apply(f.net, "xavier_norml"),
                    Catch::Contains("did you mean xavier_normal?"));
}

}  // namespace
}  // namespace halftone
