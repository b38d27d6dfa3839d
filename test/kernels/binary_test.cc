#include "kernels/binary.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "test/kernels/oracle.h"

using namespace halftone;
using quant_math::SignGradient;
using test::kInf;
using test::kNan;
using test::with_threads;

namespace {

using Values = std::vector<float>;

Tensor tensor(const Context& context, const Values& values) {
  return Tensor::from(context, Shape{static_cast<int64_t>(values.size())}, values);
}

Values gradient(const Values& x, SignGradient rule) {
  const Context context;
  Tensor dx = Tensor::empty(context, {static_cast<int64_t>(x.size())});
  kernels::binarize_backward(Tensor::full(context, dx.shape(), 3.0f), tensor(context, x), rule, dx);
  return dx.to_vector<float>();
}

}  // namespace

TEST_CASE("sign: both zeros are +1, NaN -1") {
  const Context context;
  const Tensor x = tensor(context, {0.0f, -0.0f, 1e-45f, -1e-45f, 3, -3, kInf, -kInf, kNan});
  Tensor y = test::like(x);
  kernels::binarize(x, y);
  REQUIRE(y.to_vector<float>() == Values{1, 1, 1, -1, 1, -1, 1, -1, -1});
}

TEST_CASE("straight-through and ApproxSign at and around their edges") {
  const float in = std::nextafter(1.0f, 0.0f), out = std::nextafter(1.0f, 2.0f);
  const Values x{0, -0.0f, 0.25f, -0.25f, in, -in, 1, -1, out, -out, kInf, -kInf, kNan};
  REQUIRE(gradient(x, SignGradient::kStraightThrough) ==
          Values{3, 3, 3, 3, 3, 3, 3, 3, 0, 0, 0, 0, 0});
  const float edge = 3.0f * (2.0f - 2.0f * in);
  REQUIRE(gradient(x, SignGradient::kApproxSign) ==
          Values{6, 6, 4.5f, 4.5f, edge, edge, 0, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("ApproxSign is the derivative of Bi-Real's parabolas") {
  const auto approx = [](double x) { return x < 0 ? 2 * x + x * x : 2 * x - x * x; };
  for (double x = -0.95; x < 0.99; x += 0.1) {
    const double numeric = (approx(x + 1e-6) - approx(x - 1e-6)) / 2e-6;
    const float got = quant_math::sign_derivative(static_cast<float>(x), SignGradient::kApproxSign);
    REQUIRE(std::fabs(static_cast<double>(got) - numeric) < 1e-6);
  }
}

TEST_CASE("stochastic sign: its probability, its counter, every thread count") {
  const int64_t n = 100001;
  for (const float x : {-2.0f, -1.0f, -0.5f, 0.0f, 0.75f, 1.0f, 5.0f}) {
    Values first;
    const Philox noise{11, 5};
    for (const int threads : {1, 2, 3}) {
      const Context context = with_threads(threads);
      Tensor y = Tensor::empty(context, {n});
      kernels::binarize_stochastic(Tensor::full(context, {n}, x), noise, y);
      if (first.empty()) first = y.to_vector<float>();
      REQUIRE(test::same_bits(y.to_vector<float>(), first));
    }
    int64_t up = 0;
    for (int64_t i = 0; i < n; ++i) {
      REQUIRE(first[i] == quant_math::stochastic_sign(x, noise.uniform(i)));
      up += first[i] > 0;
    }
    const double p = std::min(1.0, std::max(0.0, (static_cast<double>(x) + 1) / 2));
    // Five standard deviations of a binomial share; none at p = 0 and 1.
    REQUIRE(std::fabs(static_cast<double>(up) / n - p) <= 5 * std::sqrt(p * (1 - p) / n));
  }
}

TEST_CASE("clipping of latent weights keeps NaN and the edges") {
  const Context context;
  Tensor w = tensor(context, {-1.5f, -1, -0.0f, 0.3f, 1, 1.5f, kInf, -kInf, kNan});
  kernels::clip_latent_weights(w);
  const Values got = w.to_vector<float>();
  REQUIRE(Values(got.begin(), got.end() - 1) == Values{-1, -1, -0.0f, 0.3f, 1, 1, 1, -1});
  REQUIRE(std::isnan(got.back()));
}

TEST_CASE("alpha sign(w) per output channel and per layer") {
  const Context context;
  const Tensor w = Tensor::from(context, Shape{2, 3}, Values{-1, 2, 0, 4, -4, -4});
  REQUIRE(kernels::mean_magnitude(w, true) == Values{1, 4});
  REQUIRE(kernels::mean_magnitude(w, false) == Values{2.5f});
  Tensor y = test::like(w);
  kernels::binarize_scaled(w, {1, 4}, y);
  REQUIRE(y.to_vector<float>() == Values{-1, 1, 1, 4, -4, -4});
  kernels::binarize_scaled(w, {2.5f}, y);
  REQUIRE(y.to_vector<float>() == Values{-2.5f, 2.5f, 2.5f, 2.5f, -2.5f, -2.5f});
  REQUIRE_THROWS_WITH(kernels::binarize_scaled(w, {1, 2, 3}, y),
                      Catch::Contains("1 or 2 scales") && Catch::Contains("3"));
}

TEST_CASE("alpha sign(w): the gradient against its formula") {
  const Shape shape{7, 5, 3, 3};
  for (const int threads : {1, 3}) {
    const Context context = with_threads(threads);
    const Tensor w = test::random_tensor(context, shape, 1),
                 dy = test::random_tensor(context, shape, 2);
    for (const bool per_row : {true, false}) {
      const std::vector<float> alpha = kernels::mean_magnitude(w, per_row);
      const int64_t n = per_row ? 45 : 315;
      Tensor dw = test::like(w);
      kernels::binarize_scaled_backward(dy, w, alpha, dw);
      std::vector<double> want;
      for (int64_t i = 0; i < w.numel(); ++i) {
        const double up = dy.data<float>()[i], v = w.data<float>()[i];
        const double passed = std::fabs(v) <= 1 ? static_cast<double>(alpha[i / n]) * up : 0.0;
        want.push_back(passed + up / static_cast<double>(n));
      }
      // Three float roundings.
      REQUIRE(test::relative_error(dw.to_vector<float>(), want) < 3e-7);
    }
  }
}
