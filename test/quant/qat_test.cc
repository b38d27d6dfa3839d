// QAT: every bit width, scheme, dtype and axis against plain arithmetic, on the float path.
#include <catch2/catch.hpp>
#include <cmath>

#include "nn/layers.h"
#include "quant/qat.h"
#include "quant/range_quantize.h"
#include "test/quant/chain_oracle.h"

using namespace halftone;
using namespace halftone::test;

namespace {

struct Oracle {
  float scale = 0;
  int64_t zero = 0, qmin = 0, qmax = 0;

  // Jacob et al. 2018, section 3: the range holds 0; int is narrow; uint symmetric has its zero
  // point in the middle, 2^(b-1).
  Oracle(float low, float high, const QuantSpec& s) {
    qmax = s.is_signed ? (1 << (s.bits - 1)) - 1 : (1 << s.bits) - 1;
    qmin = s.is_signed ? -qmax : 0;
    low = std::min(low, 0.0f);
    high = std::max(high, 0.0f);
    const float steps = static_cast<float>(qmax - qmin);
    scale = s.symmetric ? std::max(-low, high) / (steps / 2) : (high - low) / steps;
    scale = std::max(scale, std::ldexp(1.0f, -23));
    zero = s.symmetric ? (s.is_signed ? 0 : (qmax + 1) / 2)
                       : clamp64(qmin - nearest_even(low / scale), qmin, qmax);
  }
  int64_t code(float x) const { return clamp64(nearest_even(x / scale) + zero, qmin, qmax); }
  float value(float x) const { return scale * static_cast<float>(code(x) - zero); }
  bool passes(float x) const {
    const int64_t q = nearest_even(x / scale) + zero;
    return q >= qmin && q <= qmax;
  }
};

// Position of element i on axis `axis` of PyTorch's layout; images lie as NHWC.
int64_t channel_of(const Shape& s, int64_t i, int axis) {
  if (s.rank() == 2) return axis == 0 ? i / s[1] : i % s[1];
  const int64_t c = i % s[3], w = i / s[3] % s[2], h = i / s[3] / s[2] % s[1];
  const int64_t at[] = {i / (s[1] * s[2] * s[3]), c, h, w};
  return at[axis];
}

void check(const Tensor& x, const QuantSpec& spec, QuantType type, int axis) {
  const Context& c = x.context();
  const int positive = axis < 0 ? axis + x.rank() : axis;
  QuantSpec s = spec;
  s.axis = axis;
  RangeQuantize q(c, FakeQuantizeArgs{type, s, 0, false});
  const Variable in(x, true);
  Variable y = q({in});
  y.backward(spread(c, x.shape(), -1, 1, 3));
  const std::vector<float> v = x.to_vector<float>(), got = y.value().to_vector<float>(),
                           up = spread(c, x.shape(), -1, 1, 3).to_vector<float>(),
                           dx = in.grad().to_vector<float>();
  std::map<int64_t, kernels::Range> ranges;
  for (size_t i = 0; i < v.size(); ++i) {
    const int64_t k = s.per_channel ? channel_of(x.shape(), static_cast<int64_t>(i), positive) : 0;
    auto& r = ranges.emplace(k, kernels::Range{v[i], v[i]}).first->second;
    r = {std::min(r.low, v[i]), std::max(r.high, v[i])};
  }
  const Tensor codes = q.codes(x);
  for (size_t i = 0; i < v.size(); ++i) {
    const int64_t k = s.per_channel ? channel_of(x.shape(), static_cast<int64_t>(i), positive) : 0;
    const Oracle o(ranges.at(k).low, ranges.at(k).high, s);
    CAPTURE(i, k);
    REQUIRE(codes.data<int32_t>()[i] == o.code(v[i]));
    REQUIRE(got[i] == o.value(v[i]));
    REQUIRE(dx[i] == (o.passes(v[i]) ? up[i] : 0.0f));
  }
}

}  // namespace

TEST_CASE("2 to 16 bits, four schemes, two dtypes: codes, values and gradients") {
  const Context c;
  const Tensor x = spread(c, {3, 4, 5, 2}, -0.7f, 1.9f, 5);
  for (int bits = 2; bits <= 16; ++bits) {
    for (const bool is_signed : {false, true}) {
      for (const bool symmetric : {false, true}) {
        for (const bool per_channel : {false, true}) {
          CAPTURE(bits, is_signed, symmetric, per_channel);
          QuantSpec s;
          s.bits = bits;
          s.is_signed = is_signed;
          s.symmetric = symmetric;
          s.per_channel = per_channel;
          check(x, s, QuantType::kWeight, 0);
          check(x, s, QuantType::kInput, 1);
        }
      }
    }
  }
}

TEST_CASE("scales per position on every axis, of ranks 2 and 4, counted from either end") {
  const Context c;
  QuantSpec s;
  s.per_channel = true;
  for (const Shape& shape : {Shape{5, 7}, Shape{2, 3, 4, 5}}) {
    const Tensor x = spread(c, shape, -0.7f, 1.9f, 11);
    for (int axis = -shape.rank(); axis < shape.rank(); ++axis) {
      for (const QuantType type : {QuantType::kWeight, QuantType::kInput, QuantType::kOutput}) {
        CAPTURE(shape.str(), axis);
        check(x, s, type, axis);
      }
    }
    for (const int axis : {shape.rank(), -shape.rank() - 1}) {
      s.axis = axis;
      RangeQuantize q(c, FakeQuantizeArgs{QuantType::kInput, s, 0, false});
      REQUIRE_THROWS_WITH(q({Variable(x)}), Catch::Contains(std::to_string(axis)));
    }
  }
}

TEST_CASE(
    "config_list: axes, dtypes and schemes of whole layers train on the float path, saying why") {
  const Context c;
  struct Row {
    const char *keys, *why;
  };
  for (const Row& row :
       {Row{R"("quant_bits": 16, "quant_dtype": "int", "quant_scheme": "per_tensor_symmetric")",
            "more than 8 bits"},
        Row{R"("quant_bits": 8, "quant_dtype": "int", "quant_scheme": "per_channel_symmetric",
              "axis": {"weight": 1})",
            "an axis other than the output channel"},
        Row{R"("quant_bits": 8, "quant_dtype": "int", "quant_scheme": "per_channel_symmetric",
              "axis": {"weight": 0, "input": -1})",
            "per-channel activations"}}) {
    CAPTURE(row.keys);
    auto net = make<Sequential>(c);
    net->append("conv", make<Conv2d>(c, Conv2dArgs{2, 3, 3, 1, 1}));
    net->append("bn", make<BatchNorm>(c, 3, 2)).append("flatten", make<Flatten>(c));
    net->append("fc", make<Linear>(c, 48, 4));
    QatQuantizer q(*net,
                   R"([{"quant_types": ["weight", "input"], "op_types": ["Conv2d", "Linear"], )" +
                       std::string(row.keys) + "}]",
                   nullptr, Tensor::zeros(c, {1, 4, 4, 2}));
    q.compress();
    REQUIRE_THAT(q.integer_obstacle("conv"), Catch::Contains(row.why));
    REQUIRE_THAT(q.warnings().at(0), Catch::Contains("conv") && Catch::Contains(row.why));
    for (int k = 0; k < 3; ++k) {
      Variable y = (*net)(Variable(spread(c, {3, 4, 4, 2}, -1, 1, 3 + k)));
      y.backward(spread(c, y.shape(), -1, 1, 7));
      for (auto& [name, p] : net->named_parameters()) {
        for (const float g : p.grad().to_vector<float>()) REQUIRE(std::isfinite(g));
      }
      q.advance_step();
    }
    net->eval();
    for (const float v :
         (*net)(Variable(spread(c, {3, 4, 4, 2}, -1, 1, 3))).value().to_vector<float>())
      REQUIRE(std::isfinite(v));
  }
}

TEST_CASE("an axis counted from the end is the one counted from the front, on integers too") {
  const Context c;
  std::vector<std::vector<float>> results;
  for (const bool from_end : {false, true}) {
    auto net = make<Sequential>(c);
    c.random() = {3, 0};
    net->append("conv", make<Conv2d>(c, Conv2dArgs{2, 3, 3, 1, 1}));
    net->append("flatten", make<Flatten>(c)).append("fc", make<Linear>(c, 48, 4));
    const auto entry = [&](const std::string& type, int axis) {
      return R"({"quant_types": ["weight", "input"], "quant_bits": 8, "op_types": [")" + type +
             R"("], "quant_dtype": {"weight": "int"}, "axis": {"weight": )" + std::to_string(axis) +
             R"(}, "quant_scheme": {"weight": "per_channel_symmetric"}})";
    };
    QatQuantizer q(
        *net,
        "[" + entry("Conv2d", from_end ? -4 : 0) + "," + entry("Linear", from_end ? -2 : 0) + "]",
        nullptr, Tensor::zeros(c, {1, 4, 4, 2}));
    q.compress();
    REQUIRE(q.integer_obstacle("conv").empty());
    REQUIRE(q.integer_obstacle("fc").empty());
    REQUIRE(q.points().at(0).quantizer->spec().axis == 0);
    results.push_back((*net)(Variable(spread(c, {3, 4, 4, 2}, -1, 1))).value().to_vector<float>());
  }
  REQUIRE(results[0] == results[1]);
}

TEST_CASE("unsigned symmetric: the zero point is 128; 127 only under NNI's arithmetic") {
  REQUIRE(quant_math::choose_grid(-1, 2, {8, false, true, false}).zero_point == 128);
  REQUIRE(quant_math::choose_grid(-1, 2, {8, false, true, true}).zero_point == 127);
}
