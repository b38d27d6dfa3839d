// DoReFa: weights, activations and gradients of one tensor, against closed forms.
#include <catch2/catch.hpp>
#include <cmath>

#include "quant/dorefa.h"
#include "quant/dorefa_quantize.h"
#include "test/quant/dorefa_values.h"
#include "test/quant/golden_net.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

TEST_CASE("weights of 2, 3, 4 and 8 bits are NNI's (case G19)") {
  const Context c;
  const std::map<int, Floats> wanted = {
      {2,
       {0.3333333730697632f, -1, 1, -0.3333333134651184f, -1, 1, -0.3333333134651184f, 1,
        0.3333333730697632f, -1}},
      {3,
       {0.4285714626312256f, -0.7142857313156128f, 1, -0.1428571343421936f, -1, 0.7142857313156128f,
        -0.7142857313156128f, 1, 0.14285719394683838f, -1}},
      {4,
       {0.46666669845581055f, -0.8666666746139526f, 1, -0.06666666269302368f, -1,
        0.7333333492279053f, -0.6000000238418579f, 1, 0.20000004768371582f, -0.8666666746139526f}},
      {8,
       {0.46666669845581055f, -0.8274509906768799f, 0.9450980424880981f, -0.11372548341751099f,
        -0.9843137264251709f, 0.7254902124404907f, -0.6392157077789307f, 1, 0.2549020051956177f,
        -0.9058823585510254f}}};
  const Variable w(vector_of(c, inputs(10, -2, 2, 1)), true);
  for (const auto& [bits, values] : wanted) {
    const Floats got = (*weights_of(w, bits))({w}).value().to_vector<float>();
    // Another tanh may be two units off; the codes are NNI's all the same.
    for (size_t i = 0; i < values.size(); ++i) REQUIRE(ulps(got[i], values[i]) <= 2);
  }
}

// N: NNI's one bit gives +-1 without E|w|, and -1 for a zero (its bug D3).
TEST_CASE("weights of one bit: sign times E|w|, gradient whole") {
  const Context c;
  const Floats w = inputs(10, -2, 2, 1);
  double mean = 0;
  for (const float v : w) mean += std::fabs(static_cast<double>(v)) / 10;
  const Variable x(vector_of(c, w), true);
  const auto q = weights_of(x, 1);
  const Floats y = (*q)({x}).value().to_vector<float>();
  const float alpha = static_cast<float>(mean);
  for (size_t i = 0; i < w.size(); ++i) REQUIRE(y[i] == (w[i] >= 0 ? alpha : -alpha));
  REQUIRE(q->grids(2).list[0].scale == alpha);
  REQUIRE(q->codes(x.value()).to_vector<int32_t>() ==
          std::vector<int32_t>{1, -1, 1, -1, -1, 1, -1, 1, 1, -1});
  REQUIRE(backward(*q, x, kUpstream) == kUpstream);
  const Variable zeros(vector_of(c, {0.0f, -0.0f, 3.0f}), true);
  REQUIRE((*weights_of(zeros, 1))({zeros}).value().to_vector<float>() == Floats{1, 1, 1});
}

// N: NNI passes the gradient whole (its bug D2: dW is kUpstream for every number of bits).
TEST_CASE("weights' gradient goes through tanh and the max") {
  const Context c;
  for (const int bits : {2, 4, 8}) {
    const Floats w = inputs(10, -2, 2, 1);
    const Variable x(vector_of(c, w), true);
    const Floats dw = backward(*weights_of(x, bits), x, kUpstream);
    for (size_t i = 0; i < w.size(); ++i) {
      // Differences are good to h^2 f'''; float roundings of dw are below 1e-6.
      REQUIRE(std::fabs(static_cast<double>(dw[i]) - difference(w, kUpstream, i)) < 2e-6);
    }
    // The largest weight has the max's term: without it this would be dy (1 - t^2) / M.
    const double t = std::tanh(static_cast<double>(w[7]));
    REQUIRE(std::fabs(static_cast<double>(dw[7]) -
                      static_cast<double>(kUpstream[7]) * (1 - t * t) / t) > 1e-3);
  }
}

TEST_CASE("weights: zeros, one element, NaN and infinities, denormals") {
  const Context c;
  const auto values = [&](const Floats& w, int bits) {
    const Variable x(vector_of(c, w), true);
    return (*weights_of(x, bits))({x}).value().to_vector<float>();
  };
  for (const float v : values(Floats(5, 0.0f), 4)) REQUIRE(std::isfinite(v));
  REQUIRE(values(Floats(5, 0.0f), 1) == Floats(5, 0.0f));
  REQUIRE(values({-3e30f}, 3) == Floats{-1});
  REQUIRE(values({1e-40f}, 1) == Floats{1e-40f});
  REQUIRE_THROWS_WITH(values({1, NAN}, 2), Contains("NaN"));
  REQUIRE_THROWS_WITH(values({1, INFINITY}, 1), Contains("infinity"));
  REQUIRE_THROWS_WITH(values({}, 2), Contains("empty batch"));
}

TEST_CASE("weights' codes are 2 i - n; more than 7 bits have no integer form, and say so") {
  const Context c;
  const Variable w(vector_of(c, inputs(10, -2, 2, 1)), true);
  REQUIRE(weights_of(w, 2)->codes(w.value()).to_vector<int32_t>() ==
          std::vector<int32_t>{1, -3, 3, -1, -3, 3, -1, 3, 1, -3});
  for (const int bits : {3, 7, 8, 16}) {
    const auto q = weights_of(w, bits);
    const quant_math::Grid g = q->grids(2).list.at(0);
    REQUIRE((g.qmax == (1 << bits) - 1 && g.qmin == -g.qmax && g.zero_point == 0));
    const Floats y = (*q)({w}).value().to_vector<float>();
    const auto codes = q->codes(w.value()).to_vector<int32_t>();
    for (size_t i = 0; i < y.size(); ++i) {
      REQUIRE(codes[i] % 2 != 0);
      REQUIRE(std::fabs(static_cast<double>(codes[i]) / g.qmax - static_cast<double>(y[i])) < 1e-6);
    }
    REQUIRE(q->integer_obstacle().empty() == (bits <= 7));
  }
  REQUIRE_THAT(weights_of(w, 8)->integer_obstacle(), Contains("need 9 bits"));
}

TEST_CASE("activations: values, codes and gradient at and around both bounds") {
  const Context c;
  const float below = std::nextafter(0.0f, -1.0f), above = std::nextafter(1.0f, 2.0f);
  const Floats x{-2, below, -0.0f, 0, 0.1f, 1.0f / 6, 0.5f, 0.9f, 1, above, 7};
  const Floats dy{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  for (const bool codes : {false, true}) {
    const auto q = activations(c, 2, codes);
    const Variable in(vector_of(c, x), true);
    const Variable y = (*q)({in});
    REQUIRE((y.codes() != nullptr) == codes);
    if (codes) {
      REQUIRE(y.codes()->params == QuantParams{1.0f / 3, 0, 0, 3});
      REQUIRE(y.codes()->values.to_vector<uint8_t>() ==
              std::vector<uint8_t>{0, 0, 0, 0, 0, 0, 2, 3, 3, 3, 3});
    } else {
      REQUIRE(y.value().to_vector<float>() ==
              Floats{0, 0, 0, 0, 0, 0, 2.0f / 3, 1, 1, 1, 1});  // 1/6 and 1/2: ties to even codes
    }
    REQUIRE(backward(*q, in, dy) == Floats{0, 0, 3, 4, 5, 6, 7, 8, 9, 0, 0});
    REQUIRE_THROWS_WITH((*q)({Variable(vector_of(c, {0.5f, NAN}))}), Contains("NaN"));
    REQUIRE_THROWS_WITH((*q)({Variable(vector_of(c, {}))}), Contains("empty batch"));
  }
}

TEST_CASE("in words, and what is clipped") {
  const Context c;
  const Variable w(vector_of(c, {-5, 0.5f, 5}), true);
  REQUIRE(activations(c, 1)->describe() == "input, DoReFa, 1 bit");
  REQUIRE(activations(c, 1)->count_clipped(w.value()) == 2);
  REQUIRE(weights_of(w, 4)->describe() == "weight, DoReFa, 4 bits");
  REQUIRE(weights_of(w, 4)->count_clipped(w.value()) == 0);
  REQUIRE(gradient_of(c, 8)->describe() == "gradient, DoReFa, 8 bits");
}

TEST_CASE("gradients: the identity forward, quantized per sample backward") {
  const Context c;
  const auto q = gradient_of(c, 2);
  const Floats dy{0.3f, -0.9f, 0.01f, 0.0f, 0.0f, 0.0f, 50.0f, 12.0f, -3.0f};
  const Variable x(Tensor::full(c, {3, 3}, 4.0f), true);
  const uint64_t before = c.random().next;
  REQUIRE((*q)({x}).value().same_memory(x.value()));
  REQUIRE(c.random().next == before + 1);
  const Floats dx = backward(*q, x, dy);
  for (size_t i = 0; i < dx.size(); ++i) {
    const float m = i < 3 ? 0.9f : i < 6 ? 0.0f : 50.0f;
    const float steps = m == 0 ? 0 : dx[i] / m * 3.0f;  // odd multiples of m / 3
    REQUIRE(std::fabs(steps - std::rint(steps)) < 1e-5f);
    REQUIRE((m == 0 || std::lround(steps) % 2 != 0));
    REQUIRE(std::fabs(dx[i] - dy[i]) <= m * (2.0f / 3) * 1.001f);  // half a step and its noise
  }
  REQUIRE((dx[1] == -0.9f && dx[6] == 50.0f));  // the largest of a sample stays
}

TEST_CASE("gradients are unbiased: the mean over many draws is the gradient") {
  const Context c;
  const int n = 4000;
  for (const int bits : {1, 2, 4, 8}) {
    const auto q = gradient_of(c, bits);
    const Floats dy{1.0f, 0.77f, 0.3f, 0.0f, -0.011f, -0.5f};
    std::vector<double> sum(dy.size());
    for (int k = 0; k < n; ++k) {
      const Variable x(Tensor::zeros(c, {1, 6}), true);
      const Floats dx = backward(*q, x, dy);
      for (size_t i = 0; i < dy.size(); ++i) sum[i] += static_cast<double>(dx[i]);
    }
    // A draw is one of two neighbours, a step of 2 / (2^k - 1) apart: its deviation is half a step
    // at most, the mean's sqrt(n) less. Five of them: one false alarm in 10^6.
    const double step = 2.0 / ((1 << bits) - 1);
    for (size_t i = 0; i < dy.size(); ++i)
      REQUIRE(std::fabs(sum[i] / n - static_cast<double>(dy[i])) < 5 * step / 2 / std::sqrt(n));
  }
}

TEST_CASE("gradients: the same key gives the same bits, another key others") {
  const Floats dy = inputs(60, -1, 1, 3);
  const auto run = [&](uint64_t seed, uint64_t stream, int threads) {
    ContextOptions options;
    options.seed = seed;
    options.threads = threads;
    const Context c(options);
    c.random().next = stream;
    const Variable x(Tensor::zeros(c, {4, 15}), true);
    return backward(*gradient_of(c, 3), x, dy);
  };
  REQUIRE(run(1, 5, 1) == run(1, 5, 2));
  REQUIRE(run(1, 5, 1) != run(1, 6, 1));
  REQUIRE(run(1, 5, 1) != run(2, 5, 1));
}

TEST_CASE("gradients stay whole in evaluation, during the float warm-up, and draw nothing then") {
  const Context c;
  const Variable x(Tensor::zeros(c, {1, 3}), true);
  const auto q = gradient_of(c, 2);
  q->eval();
  REQUIRE((*q)({x}).same(x));
  q->train();
  {
    const NoGrad none;
    REQUIRE((*q)({x}).same(x));
  }
  QuantSpec late = bits_of(2);
  late.start_step = 2;
  DorefaGradient warm(c, {QuantType::kGradient, late, 0, true});
  REQUIRE(warm({x}).same(x));
  REQUIRE(c.random().next == 0);
  warm.set_steps(2);
  REQUIRE(!warm({x}).same(x));
}
