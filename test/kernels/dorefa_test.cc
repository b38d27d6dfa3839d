#include "kernels/dorefa.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "test/kernels/oracle.h"

using namespace halftone;
using test::kInf;
using test::kNan;
using test::with_threads;

namespace {

using Values = std::vector<float>;

// Distance in units of the last place.
int64_t ulps(float a, float b) {
  int32_t x, y;
  std::memcpy(&x, &a, 4);
  std::memcpy(&y, &b, 4);
  return std::llabs(static_cast<int64_t>(x) - y);
}

Values weights(const Context& context, const Values& w, int bits) {
  const Tensor in = Tensor::from(context, Shape{static_cast<int64_t>(w.size())}, w);
  Tensor y = test::like(in);
  kernels::dorefa_weights(in, kernels::dorefa_largest(in), bits, y);
  return y.to_vector<float>();
}

// The loss sum_i dy_i r_i, r the weights before rounding, in double; `at` alone counts as variable.
double unrounded_loss(const Values& w, const Values& dy, size_t at, double value) {
  double largest = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    const double v = i == at ? value : static_cast<double>(w[i]);
    largest = std::max(largest, std::fabs(std::tanh(v)));
  }
  double loss = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    const double v = i == at ? value : static_cast<double>(w[i]);
    loss += static_cast<double>(dy[i]) * std::tanh(v) / largest;  // 2 (t / (2 max) + 1/2) - 1
  }
  return loss;
}

}  // namespace

TEST_CASE("tanh is the nearest float, but for one in a thousand that is its neighbour") {
  int off = 0, total = 0;
  for (float x = 1e-6f; x < 12.0f; x *= 1.0003f) {
    for (const float v : {x, -x}) {
      const float want = static_cast<float>(std::tanh(static_cast<double>(v)));
      const int64_t distance = ulps(quant_math::dorefa_tanh(v), want);
      REQUIRE(distance <= 1);
      off += distance != 0;
      ++total;
    }
  }
  REQUIRE(total > 100000);
  REQUIRE(off <= total / 1000);
  REQUIRE(quant_math::dorefa_tanh(0.0f) == 0.0f);
  REQUIRE(quant_math::dorefa_tanh(1e-44f) == 1e-44f);
  REQUIRE(quant_math::dorefa_tanh(kInf) == 1.0f);
  REQUIRE(quant_math::dorefa_tanh(-kInf) == -1.0f);
  REQUIRE(quant_math::dorefa_tanh(-3e38f) == -1.0f);
  REQUIRE(std::isnan(quant_math::dorefa_tanh(kNan)));
}

TEST_CASE("weights: NNI's codes and values for 2, 3 and 4 bits (its case G19)") {
  const Context context;
  Values w;  // g((2, 5), -2, 2, 1) of the golden cases' input formula
  for (int i = 1; i <= 10; ++i) {
    const double at = i * 0.6180339887498949;
    w.push_back(static_cast<float>(-2 + 4 * (at - std::floor(at))));
  }
  const Values codes2{1, -3, 3, -1, -3, 3, -1, 3, 1, -3};
  const Values codes3{3, -5, 7, -1, -7, 5, -5, 7, 1, -7};
  const Values codes4{7, -13, 15, -1, -15, 11, -9, 15, 3, -13};
  const auto check = [&](int bits, const Values& codes) {
    const float n = static_cast<float>((1 << bits) - 1);
    const Values got = weights(context, w, bits);
    for (size_t i = 0; i < w.size(); ++i) {
      REQUIRE(got[i] == 2.0f * ((codes[i] + n) / 2.0f / n) - 1.0f);
    }
  };
  check(2, codes2);
  check(3, codes3);
  check(4, codes4);
}

TEST_CASE("weights: zeros, one element, denormals, NaN, infinities, 8 and 16 bits") {
  const Context context;
  REQUIRE(weights(context, Values(3, 0.0f), 2) == Values(3, 2.0f * (2.0f / 3.0f) - 1.0f));
  REQUIRE(weights(context, {0.7f}, 2) == Values{1});
  REQUIRE(weights(context, {-0.7f}, 5) == Values{-1});
  // Far below the floor: the middle codes, as for zero.
  REQUIRE(weights(context, {1e-40f, -1e-40f}, 2) == Values(2, 2.0f * (2.0f / 3.0f) - 1.0f));
  REQUIRE(weights(context, {kNan, kInf, -kInf, 1e30f}, 3) == Values{-1, 1, -1, 1});
  REQUIRE(weights(context, {-1, 1}, 16) == Values{-1, 1});
  const Tensor w = Tensor::full(context, {1}, -1.0f);
  Tensor y = test::like(w);
  REQUIRE_THROWS_WITH(kernels::dorefa_weights(w, 1.0f, 1, y), Catch::Contains("2 to 16 bits"));
  REQUIRE(kernels::dorefa_largest(Tensor::zeros(context, {0})) == 0.0f);
}

TEST_CASE("the largest magnitude is found wherever it stands, beside NaN") {
  const Context context;
  for (int64_t at = 0; at < 150; ++at) {
    Values w(150, -0.25f);
    w[(at + 1) % 150] = kNan;
    w[at] = -0.5f;
    REQUIRE(kernels::dorefa_largest(Tensor::from(context, Shape{150}, w)) ==
            quant_math::dorefa_tanh(0.5f));
  }
}

TEST_CASE("weights' gradient: through tanh and the max, against differences") {
  const Context context;
  const Values w = test::random_values(37, 4, -1.5f, 1.5f), dy = test::random_values(37, 5);
  const Tensor in = Tensor::from(context, Shape{37}, w), up = Tensor::from(context, Shape{37}, dy);
  Tensor dw = test::like(in);
  kernels::dorefa_weights_backward(up, in, kernels::dorefa_largest(in), dw);
  for (size_t i = 0; i < w.size(); ++i) {
    const double v = static_cast<double>(w[i]), h = 1e-5;
    const double want =
        (unrounded_loss(w, dy, i, v + h) - unrounded_loss(w, dy, i, v - h)) / (2 * h);
    // Central differences are good to about h^2; the largest weight's kink lies farther than h
    // away.
    REQUIRE(std::fabs(static_cast<double>(dw.data<float>()[i]) - want) < 2e-6);
  }
}

TEST_CASE("weights' gradient: ties share the max's derivative, a dead layer passes dy") {
  const Context context;
  const Tensor w = Tensor::from(context, Shape{3}, Values{1, -1, 0.5f});
  const Tensor dy = Tensor::from(context, Shape{3}, Values{1, 2, 3});
  Tensor dw = test::like(w);
  kernels::dorefa_weights_backward(dy, w, kernels::dorefa_largest(w), dw);
  const double m = std::tanh(1.0), t = std::tanh(0.5);
  const double tied = (1 * m - 2 * m + 3 * t) / (m * m) / 2;
  const std::vector<double> want{(1 / m - tied) * (1 - m * m), (2 / m + tied) * (1 - m * m),
                                 3 / m * (1 - t * t)};
  REQUIRE(test::relative_error(dw.to_vector<float>(), want) < 5e-7);  // a few float roundings
  const Tensor zero = Tensor::zeros(context, {3});
  kernels::dorefa_weights_backward(dy, zero, 0.0f, dw);
  REQUIRE(dw.to_vector<float>() == Values{1, 2, 3});
}

TEST_CASE("activations and their mask at the edges of 0 .. 1") {
  const Context context;
  const float below = std::nextafter(0.0f, -1.0f), above = std::nextafter(1.0f, 2.0f);
  const Values x{-1, below, -0.0f, 0, 1.0f / 6, 0.5f, 1, above, kInf, -kInf, kNan};
  const Tensor in = Tensor::from(context, Shape{11}, x);
  Tensor y = test::like(in);
  kernels::dorefa_activations(in, 2, y);  // 1/6 and 1/2 lie on ties: codes 0 and 2
  const float third = 2.0f / 3.0f;
  REQUIRE(y.to_vector<float>() == Values{0, 0, 0, 0, 0, third, 1, 1, 1, 0, 0});
  kernels::dorefa_activations(in, 1, y);
  REQUIRE(y.to_vector<float>() == Values{0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0});
  Tensor dx = test::like(in);
  kernels::dorefa_activations_backward(Tensor::full(context, {11}, 5.0f), in, dx);
  REQUIRE(dx.to_vector<float>() == Values{0, 0, 5, 5, 5, 5, 5, 0, 0, 0, 0});
}

TEST_CASE("gradients: every element is the rule with its own noise; any thread count") {
  const Shape shape{5, 3, 67};
  const Philox noise{3, 9};
  for (const int bits : {1, 4, 8}) {
    for (const int threads : {1, 2, 3}) {
      const Context context = with_threads(threads);
      Values g = test::random_values(shape.numel(), 8);
      std::fill(g.begin() + 201, g.begin() + 402, 0.0f);  // sample 1: all zero
      const Tensor in = Tensor::from(context, shape, g);
      Tensor y = test::like(in);
      kernels::dorefa_gradients(in, bits, noise, y);
      const float n = static_cast<float>((1 << bits) - 1);
      for (int64_t i = 0; i < in.numel(); ++i) {
        float m = 0;
        for (int64_t j = i / 201 * 201; j < i / 201 * 201 + 201; ++j)
          m = std::max(m, std::fabs(g[j]));
        const float got = y.data<float>()[i];
        if (got != quant_math::dorefa_gradient(g[i], m, n, noise.uniform(i))) FAIL(i);
        if (i / 201 == 1) REQUIRE(got == 0.0f);
        REQUIRE(std::fabs(got) <= m);
      }
    }
  }
}

TEST_CASE("gradients are unbiased inside the range and differ between elements") {
  const Context context;
  const int64_t n = 60000;
  Values g(n, 0.3f);
  g[0] = 1.0f;  // the sample's range
  const Tensor in = Tensor::from(context, Shape{1, n}, g);
  Tensor y = test::like(in);
  kernels::dorefa_gradients(in, 2, {1, 2}, y);
  double sum = 0;
  for (int64_t i = 1; i < n; ++i) sum += static_cast<double>(y.data<float>()[i]);
  // Steps of 2/3: standard deviation at most 1/3; five of the mean's.
  REQUIRE(std::fabs(sum / (n - 1) - 0.3) < 5 * (1.0 / 3) / std::sqrt(n));
}

TEST_CASE("gradients: NaN stays, a sample with an infinity passes, huge and denormal ranges") {
  const Context context;
  const Values g{kNan, 1, kInf, -2, 3e38f, -3e38f, 1e-45f, 0};
  const Tensor in = Tensor::from(context, Shape{4, 2}, g);
  Tensor y = test::like(in);
  kernels::dorefa_gradients(in, 1, {1, 2}, y);
  const Values got = y.to_vector<float>();
  REQUIRE(std::isnan(got[0]));
  REQUIRE(got[1] == 1);
  REQUIRE(got[2] == kInf);
  REQUIRE(got[3] == -2);
  REQUIRE(got[4] == 3e38f);
  REQUIRE(got[5] == -3e38f);
  REQUIRE(got[6] == 1e-45f);
  REQUIRE(std::fabs(got[7]) == 1e-45f);  // one bit: +-m
}
