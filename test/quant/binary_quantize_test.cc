// Binary tensors: signs, gradients, scales, draws, padding.
#include <catch2/catch.hpp>
#include <cmath>

#include "quant/binary_quantize.h"
#include "quant/bnn.h"
#include "test/quant/binary_values.h"
#include "test/quant/golden_net.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

TEST_CASE("activations: sign, and the two gradients, at and around -1, 0 and 1") {
  const Context c;
  Floats dy(kEdges.size());
  for (size_t i = 0; i < dy.size(); ++i) dy[i] = static_cast<float>(i + 1);
  for (const bool codes : {false, true}) {
    for (const bool approx : {false, true}) {
      QuantSpec spec = binary();
      spec.approx_sign = approx;
      const auto q = activations(c, spec, codes);
      const Variable x(vector_of(c, kEdges), true);
      const Variable y = (*q)({x});
      REQUIRE((y.codes() != nullptr) == codes);
      REQUIRE(y.value().to_vector<float>() ==
              Floats{-1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1});  // sign(-0) = sign(0) = +1
      if (codes) {
        REQUIRE(y.codes()->params == QuantParams{1.0f, 1, 0, 2});
        REQUIRE(y.codes()->values.to_vector<uint8_t>() ==
                std::vector<uint8_t>{0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2});
      }
      const Floats dx = backward(*q, x, dy);
      for (size_t i = 0; i < dx.size(); ++i) {
        const float size = std::fabs(kEdges[i]);
        const float slope = approx ? (size < 1 ? 2 - 2 * size : 0) : (size <= 1 ? 1 : 0);
        REQUIRE(dx[i] == dy[i] * slope);
      }
    }
  }
}

TEST_CASE("weights: sign, the whole gradient, and clipped after the step, after it alone") {
  const Context c;
  Variable w(vector_of(c, kEdges), true);
  const auto q = weights_of(w);
  REQUIRE(values(*q, w) == Floats{-1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1});
  const Floats dy = inputs(static_cast<int64_t>(kEdges.size()), -1, 1, 7);
  REQUIRE(backward(*q, w, dy) == dy);
  REQUIRE(w.value().to_vector<float>() == kEdges);
  q->after_step();
  REQUIRE(w.value().to_vector<float>() ==
          Floats{-1, -1, -1, -kInside, -0.5f, -0.0f, 0, 0.5f, kInside, 1, 1, 1});
}

TEST_CASE("XNOR-Net's scale: alpha sign(w) per channel, and the paper's gradient") {
  const Context c;
  QuantSpec spec = binary();
  spec.per_channel = true;
  const Floats w{0.5f, -0.25f, 1.5f, -1, 0, 0, 0, 0};
  const Variable x(Tensor::from(c, Shape{2, 4}, w), true);
  const auto q = weights_of(x, spec);
  const float alpha = 0.8125f;
  REQUIRE(values(*q, x) == Floats{alpha, -alpha, alpha, -alpha, 0, 0, 0, 0});
  REQUIRE(q->grids(2).list[0].scale == alpha);
  REQUIRE(q->grids(2).list[1].scale == quant_math::kScaleFloor);  // never 0: codes divide by it
  REQUIRE(q->codes(x.value()).to_vector<int32_t>() ==
          std::vector<int32_t>{1, -1, 1, -1, 0, 0, 0, 0});
  const Floats dy{1, 2, 3, 4, 5, 6, 7, 8};
  // (1 / n + alpha [|w| <= 1]) dy
  REQUIRE(backward(*q, x, dy) == Floats{1.0625f, 2.125f, 0.75f, 4.25f, 1.25f, 1.5f, 1.75f, 2});
}

TEST_CASE("stochastic signs: in training alone, with the right frequency, from the key") {
  ContextOptions options;
  options.seed = 4;
  const Context c(options);
  QuantSpec spec = binary();
  spec.stochastic = true;
  const auto q = activations(c, spec);
  const int64_t n = 20000;
  for (const float v : {-1.5f, -1.0f, -0.4f, 0.0f, 0.7f, 1.0f}) {
    const Variable x(Tensor::full(c, {n}, v), true);
    double sum = 0;
    for (const float y : values(*q, x)) {
      REQUIRE(std::fabs(y) == 1.0f);
      sum += static_cast<double>(y);
    }
    // The mean of sign is clamp(x, -1, 1); deviation 1 at most: five of the mean's.
    const double want = std::fmax(-1, std::fmin(1, static_cast<double>(v)));
    REQUIRE(std::fabs(sum / n - want) <= 5 / std::sqrt(n));
    if (std::fabs(v) >= 1) REQUIRE(sum / n == want);
  }
  const Variable x(vector_of(c, inputs(64, -1, 1, 3)), true);
  c.random().next = 9;
  const Floats once = values(*q, x);
  REQUIRE(values(*q, x) != once);
  c.random().next = 9;
  REQUIRE(values(*q, x) == once);
  REQUIRE(backward(*q, x, Floats(64, 2.0f)) == Floats(64, 2.0f));  // straight through
  q->eval();
  const uint64_t before = c.random().next;
  const Floats sure = values(*q, x);
  for (size_t i = 0; i < sure.size(); ++i)
    REQUIRE(sure[i] == (x.value().data<float>()[i] >= 0 ? 1.0f : -1.0f));
  REQUIRE(c.random().next == before);
}

TEST_CASE("stochastic weights have no integer form, and say so; with XNOR's scale too") {
  const Context c;
  QuantSpec spec = binary();
  spec.stochastic = true;
  spec.per_channel = true;
  const Variable w(Tensor::from(c, Shape{2, 2}, Floats{0.5f, -0.5f, 0.25f, 0.25f}), true);
  const auto q = weights_of(w, spec);
  REQUIRE_THAT(q->integer_obstacle(), Contains("drawn anew"));
  const Floats y = values(*q, w);
  for (size_t i = 0; i < 4; ++i) REQUIRE(std::fabs(y[i]) == (i < 2 ? 0.5f : 0.25f));
  REQUIRE(q->codes(w.value()).to_vector<int32_t>() == std::vector<int32_t>{1, -1, 1, 1});
}

TEST_CASE("padding with 0, -1 and 1: sums and gradients, on codes as on floats") {
  for (const int padding : {0, -1, 1}) {
    CAPTURE(padding);
    BinaryConv a(padding, true), b(padding, false);
    REQUIRE((a.quantizer->chains().size() == 1 && b.quantizer->chains().empty()));
    const Floats pixels = inputs(60, -1.5, 1.5, 3);
    const Variable x(Tensor::from(a.context, Shape{1, 4, 5, 3}, pixels), true);
    const Variable z(Tensor::from(b.context, Shape{1, 4, 5, 3}, pixels), true);
    Variable y = (*a.net)(x), v = (*b.net)(z);
    // Plain sums of signs.
    const auto sign = [](float t) { return t >= 0 ? 1 : -1; };
    const Floats w = a.conv->weight.value().to_vector<float>();
    for (int h = 0; h < 4; ++h) {
      for (int l = 0; l < 5; ++l) {
        for (int o = 0; o < 4; ++o) {
          int sum = 0;
          for (int t = 0; t < 27; ++t) {
            const int i = h + t / 9 - 1, j = l + t / 3 % 3 - 1;
            const bool out = i < 0 || i >= 4 || j < 0 || j >= 5;
            sum += sign(w[o * 27 + t]) *
                   (out ? padding : sign(pixels[static_cast<size_t>((i * 5 + j) * 3 + t % 3)]));
          }
          const float want = static_cast<float>(sum) + a.conv->bias.value().data<float>()[o];
          // The bias is a multiple of 1/64 of a step on codes.
          REQUIRE(v.value().data<float>()[(h * 5 + l) * 4 + o] == Approx(want).margin(1e-5));
          REQUIRE(y.value().data<float>()[(h * 5 + l) * 4 + o] == Approx(want).margin(1.0 / 128));
        }
      }
    }
    // The same sums of the same numbers, in another order.
    const Floats dy = inputs(80, -1, 1, 7);
    y.backward(Tensor::from(a.context, Shape{1, 4, 5, 4}, dy));
    v.backward(Tensor::from(b.context, Shape{1, 4, 5, 4}, dy));
    const Floats dx = x.grad().to_vector<float>(), dz = z.grad().to_vector<float>();
    for (size_t i = 0; i < dx.size(); ++i) REQUIRE(dx[i] == Approx(dz[i]).margin(1e-5));
    const Floats da = a.conv->weight.grad().to_vector<float>();
    const Floats db = b.conv->weight.grad().to_vector<float>();
    for (size_t i = 0; i < da.size(); ++i) REQUIRE(da[i] == Approx(db[i]).margin(1e-5));
  }
}

TEST_CASE("a file with another padding is refused") {
  BinaryConv a(-1, true), b(1, true);
  REQUIRE_NOTHROW(BinaryConv(-1, true).net->load_state_dict(a.net->state_dict()));
  REQUIRE_THROWS_WITH(b.net->load_state_dict(a.net->state_dict()),
                      Contains("padding_value 1") && Contains("-1"));
}

TEST_CASE("edge cases: zeros, one element, empty, NaN, infinities, evaluation first") {
  const Context c;
  const auto q = activations(c);
  REQUIRE(values(*q, Variable(vector_of(c, Floats(3, 0.0f)))) == Floats(3, 1.0f));
  REQUIRE(values(*q, Variable(vector_of(c, {-1e-45f}))) == Floats{-1});
  REQUIRE_THROWS_WITH((*q)({Variable(vector_of(c, {}))}), Contains("empty batch"));
  REQUIRE_THROWS_WITH((*q)({Variable(vector_of(c, {NAN}))}), Contains("NaN"));
  REQUIRE_THROWS_WITH((*q)({Variable(vector_of(c, {-INFINITY}))}), Contains("infinity"));
  q->eval();
  REQUIRE(values(*q, Variable(vector_of(c, {-2, 2}))) == Floats{-1, 1});
  REQUIRE_NOTHROW(q->set_ranges({{-1.0f, 1.0f}}));
  REQUIRE_THROWS_WITH(q->set_ranges({{-1.0f, 3.0f}}), Contains("-1 .. 1"));
}

TEST_CASE("in words, and what is clipped") {
  const Context c;
  QuantSpec spec = binary();
  spec.approx_sign = spec.stochastic = true;
  const auto q = activations(c, spec);
  REQUIRE(q->describe() == "output, sign, stochastic, ApproxSign");
  REQUIRE(q->count_clipped(vector_of(c, kEdges)) == 4);
  spec.per_channel = true;
  const Variable w(vector_of(c, {-5, 5}), true);
  REQUIRE(weights_of(w, spec)->describe() == "weight, sign, XNOR scale, stochastic");
  REQUIRE(weights_of(w)->count_clipped(w.value()) == 0);
}
