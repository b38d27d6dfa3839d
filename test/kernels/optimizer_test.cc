#include "kernels/optimizer.h"

#include <catch2/catch.hpp>

#include "test/kernels/oracle.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

namespace {

constexpr int64_t kCount = 40003;
constexpr int kSteps = 6;

std::vector<double> doubles(const Tensor& x) {
  const auto values = x.to_vector<float>();
  return std::vector<double>(values.begin(), values.end());
}

Tensor gradient(const Context& context, int step) {
  return random_tensor(context, {kCount}, 100 + static_cast<uint64_t>(step), -0.1f, 0.1f);
}

// torch.optim.SGD's documented algorithm, in double.
void sgd_oracle(const kernels::SgdOptions& o, int step, const std::vector<double>& g,
                std::vector<double>& p, std::vector<double>& buffer) {
  for (size_t i = 0; i < p.size(); ++i) {
    double d = g[i] + o.weight_decay * p[i];
    if (o.momentum != 0.0) {
      buffer[i] = step == 1 ? d : o.momentum * buffer[i] + (1.0 - o.dampening) * d;
      d = o.nesterov ? d + o.momentum * buffer[i] : buffer[i];
    }
    p[i] -= o.lr * d;
  }
}

// torch.optim.Adam's and AdamW's documented algorithms, in double.
void adam_oracle(const kernels::AdamOptions& o, const std::vector<double>& grad,
                 std::vector<double>& p, std::vector<double>& m, std::vector<double>& v) {
  const double c1 = 1.0 - std::pow(o.beta1, o.step), c2 = 1.0 - std::pow(o.beta2, o.step);
  for (size_t i = 0; i < p.size(); ++i) {
    const double g = grad[i] + (o.decoupled ? 0.0 : o.weight_decay * p[i]);
    if (o.decoupled) p[i] -= o.lr * o.weight_decay * p[i];
    m[i] = o.beta1 * m[i] + (1.0 - o.beta1) * g;
    v[i] = o.beta2 * v[i] + (1.0 - o.beta2) * g * g;
    p[i] -= o.lr * (m[i] / c1) / (std::sqrt(v[i] / c2) + o.eps);
  }
}

std::vector<std::vector<float>> run_adam(kernels::AdamOptions options, int threads) {
  const Context context = with_threads(threads);
  Tensor p = random_tensor(context, {kCount}, 51);
  Tensor m = Tensor::zeros(context, {kCount}), v = m.clone();
  for (options.step = 1; options.step <= kSteps; ++options.step) {
    kernels::adam_step(options, gradient(context, static_cast<int>(options.step)), p, m, v);
  }
  return {p.to_vector<float>(), m.to_vector<float>(), v.to_vector<float>()};
}

}  // namespace

TEST_CASE("SGD follows PyTorch with momentum, dampening, Nesterov and weight decay") {
  std::vector<kernels::SgdOptions> variants(5);
  for (auto& o : variants) o.lr = 0.1;
  variants[1].weight_decay = 0.01;
  variants[2].momentum = 0.9;
  variants[3].momentum = 0.9, variants[3].dampening = 0.5, variants[3].weight_decay = 0.01;
  variants[4].momentum = 0.9, variants[4].nesterov = true;
  for (kernels::SgdOptions o : variants) {
    const Context context = with_threads(2);
    Tensor p = random_tensor(context, {kCount}, 52);
    // The first step must not read the buffer: it starts as NaN.
    Tensor buffer = o.momentum != 0.0 ? like(p) : Tensor();
    std::vector<double> expected = doubles(p), expected_buffer(expected.size());
    for (int step = 1; step <= kSteps; ++step) {
      const Tensor g = gradient(context, step);
      o.first_step = step == 1;
      kernels::sgd_step(o, g, p, buffer);
      sgd_oracle(o, step, doubles(g), expected, expected_buffer);
    }
    CAPTURE(o.momentum, o.nesterov, o.weight_decay);
    // A few float roundings in each of six steps.
    REQUIRE(relative_error(p.to_vector<float>(), expected) < 1e-6);
    if (buffer) REQUIRE(relative_error(buffer.to_vector<float>(), expected_buffer) < 1e-6);
  }
}

TEST_CASE("Adam and AdamW follow PyTorch") {
  std::vector<kernels::AdamOptions> variants(4);
  variants[1].weight_decay = 0.1;
  variants[2].weight_decay = 0.1, variants[2].decoupled = true, variants[2].lr = 0.01;
  variants[3].beta1 = 0.4, variants[3].beta2 = 0.9, variants[3].eps = 1e-3;
  for (kernels::AdamOptions o : variants) {
    const auto actual = run_adam(o, 2);
    const Context context;
    std::vector<double> p = doubles(random_tensor(context, {kCount}, 51));
    std::vector<double> m(p.size()), v(p.size());
    for (o.step = 1; o.step <= kSteps; ++o.step) {
      adam_oracle(o, doubles(gradient(context, static_cast<int>(o.step))), p, m, v);
    }
    CAPTURE(o.beta1, o.decoupled, o.weight_decay);
    // A few float roundings in each of six steps. With betas held as float it would be 1e-5.
    REQUIRE(relative_error(actual[0], p) < 1e-6);
    REQUIRE(relative_error(actual[1], m) < 1e-6);
    REQUIRE(relative_error(actual[2], v) < 1e-6);
  }
}

TEST_CASE("Adam's first step is lr in the gradient's direction") {
  const Context context;
  Tensor p = Tensor::zeros(context, {3}), m = p.clone(), v = p.clone();
  const Tensor g = Tensor::from<float>(context, {3}, {1e-3f, -50.0f, 0.0f});
  kernels::adam_step({}, g, p, m, v);
  const auto after = p.to_vector<float>();
  REQUIRE(after[0] == Approx(-1e-3).epsilon(2e-5));  // eps / |g| = 1e-5
  REQUIRE(after[1] == Approx(1e-3).epsilon(1e-6));
  REQUIRE(after[2] == 0.0f);
}

TEST_CASE("Adam has the same bits on 1, 2 and 3 threads") {
  const auto one = run_adam({}, 1);
  for (int threads : {2, 3}) {
    const auto other = run_adam({}, threads);
    for (size_t i = 0; i < one.size(); ++i) REQUIRE(same_bits(other[i], one[i]));
  }
}

TEST_CASE("optimizer steps of nothing do nothing, of unlike sizes throw") {
  const Context context;
  Tensor none = Tensor::empty(context, {0}), p = Tensor::zeros(context, {4});
  Tensor three = Tensor::zeros(context, {3});
  kernels::adam_step({}, none, none, none, none);
  REQUIRE_THAT(error_of([&] { kernels::adam_step({}, three, p, p, p); }),
               Contains("grad") && Contains("4") && Contains("3"));
  kernels::SgdOptions o;
  o.nesterov = true;
  REQUIRE_THAT(error_of([&] { kernels::sgd_step(o, p, p, p); }), Contains("Nesterov"));
  kernels::AdamOptions unset;
  unset.step = 0;
  REQUIRE_THAT(error_of([&] { kernels::adam_step(unset, p, p, p, p); }), Contains("step"));
}
