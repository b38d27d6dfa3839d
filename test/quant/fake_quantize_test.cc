#include "quant/range_quantize.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

using namespace halftone;

namespace {

QuantSpec spec_of(int bits, bool is_signed, bool per_channel, bool symmetric, int axis = 0) {
  QuantSpec s;
  s.bits = bits;
  s.is_signed = is_signed;
  s.per_channel = per_channel;
  s.symmetric = symmetric;
  s.axis = axis;
  return s;
}

std::shared_ptr<RangeQuantize> quantizer(const Context& c, QuantType type, const QuantSpec& spec,
                                         int64_t channels = 0) {
  return make<RangeQuantize>(c, FakeQuantizeArgs{type, spec, channels, false});
}

Tensor vector_of(const Context& c, const std::vector<float>& v) {
  return Tensor::from(c, Shape{static_cast<int64_t>(v.size())}, v);
}

std::vector<float> run(RangeQuantize& q, const Tensor& x) {
  return q({Variable(x)}).value().to_vector<float>();
}

float scale_of(RangeQuantize& q, int64_t c = 0) {
  return q.state_dict().at("scale").data<float>()[c];
}
int32_t zero_of(RangeQuantize& q, int64_t c = 0) {
  return q.state_dict().at("zero_point").data<int32_t>()[c];
}

}  // namespace

TEST_CASE("weights 1..18 and inputs 0..15: NNI's table of dtype and scheme") {
  const Context c;
  std::vector<float> w(18), x(16);
  std::iota(w.begin(), w.end(), 1.0f);
  std::iota(x.begin(), x.end(), 0.0f);
  // (2, 1, 3, 3) in PyTorch: (2, 3, 3, 1) in memory, the same order.
  const Tensor weight = Tensor::from(c, Shape{2, 3, 3, 1}, w), input = vector_of(c, x);
  struct Row {
    bool is_signed, symmetric;
    float steps;
    int32_t zero;
  };
  for (const Row& r : {Row{true, true, 127.0f, 0}, Row{false, true, 127.5f, 127},
                       Row{true, false, 254.0f, -127}, Row{false, false, 255.0f, 0}}) {
    QuantSpec spec = spec_of(8, r.is_signed, true, r.symmetric);
    spec.nni = true;
    auto q = quantizer(c, QuantType::kWeight, spec, 2);
    run(*q, weight);
    REQUIRE(scale_of(*q, 0) == 9.0f / r.steps);
    REQUIRE(scale_of(*q, 1) == 18.0f / r.steps);
    REQUIRE(zero_of(*q, 1) == r.zero);
    spec.per_channel = false;
    auto qx = quantizer(c, QuantType::kInput, spec);
    run(*qx, input);
    REQUIRE(scale_of(*qx) == 15.0f / r.steps);
    REQUIRE(zero_of(*qx) == r.zero);
  }
}

TEST_CASE("weight range is the current one; known values") {
  const Context c;
  auto q = quantizer(c, QuantType::kWeight, spec_of(8, false, false, false));
  run(*q, vector_of(c, {1, 2, 3, 5}));
  REQUIRE((scale_of(*q) == 5.0f / 255 && zero_of(*q) == 0));
  run(*q, vector_of(c, {-1, 2, 3, 5}));
  REQUIRE(scale_of(*q) == 6.0f / 255);
  REQUIRE((zero_of(*q) == 42 || zero_of(*q) == 43));
  const auto y = run(*q, vector_of(c, {1.1287f, 2.3456f, 3.7814f, 5.9723f}));
  const std::vector<float> want = {1.1242f, 2.3421f, 3.7707f, 5.9723f};
  for (int i = 0; i < 4; ++i)
    REQUIRE(y[i] == Approx(want[i]).epsilon(1e-4));  // printed with 4 decimals
}

TEST_CASE(
    "activation ranges: the first batch, then the moving average; evaluation changes nothing") {
  const Context c;
  auto q = quantizer(c, QuantType::kOutput, spec_of(8, false, false, false));
  run(*q, vector_of(c, {0, 0, 0.1f, 0.2f}));
  REQUIRE((q->ranges()[0].low == 0.0f && q->ranges()[0].high == 0.2f));
  run(*q, vector_of(c, {0.2f, 0.4f, 0.6f, 0.8f}));
  REQUIRE((q->ranges()[0].low == 0.002f && q->ranges()[0].high == 0.206f));
  const auto before = q->state_dict().at("scale").item<float>();
  q->eval();
  run(*q, vector_of(c, {-7, 9}));
  REQUIRE(q->state_dict().at("scale").item<float>() == before);
}

TEST_CASE("min-max observer keeps the extremes") {
  const Context c;
  QuantSpec spec = spec_of(8, false, false, false);
  spec.observer = ObserverKind::kMinMax;
  auto q = quantizer(c, QuantType::kInput, spec);
  run(*q, vector_of(c, {-1, 2}));
  run(*q, vector_of(c, {0, 3}));
  REQUIRE((q->ranges()[0].low == -1.0f && q->ranges()[0].high == 3.0f));
}

TEST_CASE("warm-up passes value and gradient through, and tracks the range") {
  const Context c;
  QuantSpec spec = spec_of(4, false, false, false);
  spec.start_step = 3;
  auto q = quantizer(c, QuantType::kOutput, spec);
  const std::vector<float> values = {-3.0f, 0.013f, 2.0f};
  for (int step = 1; step <= 3; ++step) {
    const Variable x(vector_of(c, values), true);
    Variable y = (*q)(x);
    const bool active = step >= 3;
    REQUIRE((y.value().to_vector<float>() == values) == !active);
    REQUIRE(q->initialised());
    if (!active) {
      REQUIRE(y.same(x));  // not even a copy
    } else {
      y.backward(vector_of(c, {1, 2, 3}));
      REQUIRE(x.grad().to_vector<float>() == std::vector<float>{1, 2, 3});
    }
    q->set_steps(q->steps() + 1);
  }
}

TEST_CASE("straight-through gradient at the edges, in a fresh tensor") {
  const Context c;
  auto q = quantizer(c, QuantType::kInput, spec_of(4, false, false, false));
  run(*q, vector_of(c, {0, 7.5f}));  // scale 0.5, zero point 0
  q->eval();
  const Variable x(vector_of(c, {-0.26f, -0.25f, 0, 7.5f, 7.74f, 7.75f}), true);
  const Tensor up = vector_of(c, {1, 2, 3, 4, 5, 6});
  Variable y = (*q)(x);
  y.backward(up);
  REQUIRE(x.grad().to_vector<float>() == std::vector<float>{0, 2, 3, 4, 5, 0});
  REQUIRE(up.to_vector<float>() == std::vector<float>{1, 2, 3, 4, 5, 6});
}

TEST_CASE("evaluation before any training passes values through") {
  const Context c;
  auto q = quantizer(c, QuantType::kInput, spec_of(8, false, false, false));
  q->eval();
  REQUIRE(run(*q, vector_of(c, {1.234f, -5})) == std::vector<float>{1.234f, -5});
  REQUIRE_FALSE(q->initialised());
}

TEST_CASE("zeros, constants, single values and huge ones stay finite") {
  const Context c;
  for (const bool symmetric : {false, true}) {
    for (const auto& v :
         {std::vector<float>{0, 0}, {5, 5}, {-5}, {1e-40f, -1e-42f}, {1e18f, -1e18f}}) {
      auto q = quantizer(c, QuantType::kInput, spec_of(8, false, false, symmetric));
      run(*q, vector_of(c, {-0.5f, 1.0f}));
      for (const float y : run(*q, vector_of(c, v))) REQUIRE(std::isfinite(y));
      REQUIRE(std::isfinite(scale_of(*q)));
      REQUIRE(scale_of(*q) >= std::ldexp(1.0f, -23));
    }
  }
  auto q = quantizer(c, QuantType::kInput, spec_of(8, false, false, false));
  REQUIRE_THROWS_WITH((*q)(Variable(Tensor::zeros(c, {0, 3}))), Catch::Contains("empty batch"));
  run(*q, vector_of(c, {-0.5f, 1.0f}));
  q->eval();
  REQUIRE_THROWS_WITH((*q)(Variable(Tensor::zeros(c, {0, 3}))), Catch::Contains("empty batch"));
}

TEST_CASE("NaN and infinities are refused where they are observed, and change nothing") {
  const Context c;
  auto q = quantizer(c, QuantType::kInput, spec_of(8, false, false, false));
  run(*q, vector_of(c, {-0.5f, 1.0f}));
  const float scale = scale_of(*q);
  for (const auto& [v, name] : {std::pair{std::vector<float>{0, NAN, 1}, "NaN"},
                                {{NAN}, "NaN"},
                                {{1, -INFINITY}, "inf"},
                                {{-3e38f}, "-3e+38"}}) {
    REQUIRE_THROWS_WITH(run(*q, vector_of(c, v)),
                        Catch::Contains("input") && Catch::Contains(name));
    REQUIRE((scale_of(*q) == scale && q->ranges()[0].high == 1.0f));
  }
}

TEST_CASE("per-channel activations follow PyTorch's axis 1") {
  const Context c;
  auto q = quantizer(c, QuantType::kInput, spec_of(8, false, true, false, 1));
  // (N, C, H, W) = (1, 2, 1, 2) is (1, 1, 2, 2) in memory, channels last.
  run(*q, Tensor::from(c, Shape{1, 1, 2, 2}, std::vector<float>{0, 0, 51, 102}));
  REQUIRE((scale_of(*q, 0) == 0.2f && scale_of(*q, 1) == 0.4f));
  REQUIRE_THROWS_WITH((*q)(Variable(vector_of(c, {1}))), Catch::Contains("rank 1"));
}

TEST_CASE("one record: state goes to a fresh quantizer and back") {
  const Context c;
  auto q = quantizer(c, QuantType::kInput, spec_of(8, false, true, false, 1));
  run(*q, Tensor::from(c, Shape{1, 1, 2, 2}, std::vector<float>{0, -1, 51, 102}));
  q->set_steps(17);
  auto other = quantizer(c, QuantType::kInput, spec_of(8, false, true, false, 1));
  other->load_state_dict(q->state_dict());
  REQUIRE(other->steps() == 17);
  REQUIRE(other->initialised());
  other->eval();
  q->eval();
  const Tensor x = Tensor::from(c, Shape{1, 1, 1, 2}, std::vector<float>{7.77f, 55.5f});
  REQUIRE(run(*q, x) == run(*other, x));
  for (const char* name : {"scale", "zero_point", "min_val", "max_val", "fake_quant_enabled",
                           "observer_enabled", "initialised", "steps"}) {
    REQUIRE(q->state_dict().count(name) == 1);
  }
}

TEST_CASE("signed activations as codes are stored 128 higher") {
  const Context c;
  QuantSpec spec = spec_of(8, true, false, true);
  auto q = make<RangeQuantize>(c, FakeQuantizeArgs{QuantType::kInput, spec, 0, true});
  const Variable y = (*q)(Variable(vector_of(c, {-12.7f, 0, 12.7f})));
  REQUIRE(y.codes() != nullptr);
  REQUIRE(y.codes()->values.to_vector<uint8_t>() == std::vector<uint8_t>{1, 128, 255});
  REQUIRE((*q)(y).same(y));  // quantized already
}
