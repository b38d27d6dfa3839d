// Biases simulated as int32 on the float path.
#include <catch2/catch.hpp>
#include <cmath>

#include "quant/bias_quantize.h"
#include "quant/quantizer.h"
#include "test/quant/chain_oracle.h"

using namespace halftone;
using namespace halftone::test;

namespace {

std::string config_of(const std::string& types, const std::string& bits,
                      const std::string& more = "") {
  return "[{\"quant_types\": " + types + ", \"quant_bits\": " + bits +
         R"(, "op_types": ["Conv2d", "Linear"], "quant_dtype": {"weight": "int"}, "quant_scheme":
         {"weight": "per_channel_symmetric"})" +
         more + "}]";
}

const char* const kTypes = R"(["weight", "input", "bias"])";

struct Net {
  explicit Net(const std::string& config, bool integer = false, bool norm = false)
      : net(make<Sequential>(c)) {
    conv = make<Conv2d>(c, Conv2dArgs{2, 3, 3});
    net->append("conv", conv);
    if (norm) net->append("bn", make<BatchNorm>(c, 3, 2));
    net->append("relu", make_relu(c)).append("flatten", make<Flatten>(c));
    net->append("fc", make<Linear>(c, 12, 4));
    QuantizerOptions o;
    o.integer = integer;
    q = make_quantizer("QAT_Quantizer", *net, config, nullptr, Tensor::zeros(c, {1, 4, 4, 2}), o);
    q->compress();
  }
  Variable run() { return (*net)(Variable(spread(c, {2, 4, 4, 2}, -1, 1.5f, 7))); }
  const FakeQuantize& quantizer(QuantType type) {
    for (const QuantPoint& p : q->points()) {
      if (p.module == "conv" && p.type == type) return *p.quantizer;
    }
    throw std::logic_error("none");
  }
  Context c;
  std::shared_ptr<Sequential> net;
  std::shared_ptr<Conv2d> conv;
  std::unique_ptr<Quantizer> q;
};

}  // namespace

TEST_CASE("bias: int32 in steps of s_x s_w, per channel, zero point 0") {
  Net n(config_of(kTypes, "8"));
  REQUIRE(n.q->warnings().empty());
  n.run();
  const FakeQuantize& bias = n.quantizer(QuantType::kBias);
  REQUIRE(bias.path() == "conv.bias_fake_quant");
  REQUIRE(bias.spec().bits == 32);
  const float sx = n.quantizer(QuantType::kInput).grids(4).list[0].scale;
  const auto weight = n.quantizer(QuantType::kWeight).grids(4).list;
  const auto grids = bias.grids(1).list;
  const Tensor b = n.conv->bias.value();
  const Variable y = n.conv->bias_transform()(n.conv->bias);
  for (int k = 0; k < 3; ++k) {
    REQUIRE((grids[k].scale == sx * weight[k].scale && grids[k].zero_point == 0));
    const int64_t code = nearest_even(b.data<float>()[k] / static_cast<double>(grids[k].scale));
    REQUIRE(bias.codes(b).data<int32_t>()[k] == code);
    REQUIRE(y.value().data<float>()[k] == grids[k].scale * static_cast<float>(code));
    REQUIRE(y.value().data<float>()[k] != b.data<float>()[k]);
  }
}

TEST_CASE("bias: straight through, but where 2^30 steps do not reach") {
  Net n(config_of(kTypes, R"({"weight": 8, "input": 8, "bias": 32})"));
  n.run();
  n.net->eval();
  n.conv->bias.mutable_value().data<float>()[1] =
      3e9f * n.quantizer(QuantType::kBias).grids(1).list[1].scale;
  Variable y = n.conv->bias_transform()(n.conv->bias);
  REQUIRE(n.quantizer(QuantType::kBias).codes(n.conv->bias.value()).data<int32_t>()[1] == 1 << 30);
  y.backward(Tensor::from<float>(n.c, {3}, {1, 2, 3}));
  REQUIRE(n.conv->bias.grad().to_vector<float>() == std::vector<float>{1, 0, 3});
}

TEST_CASE("bias: the integer path has the same codes without it") {
  Net with(config_of(kTypes, "8"), true), without(config_of(R"(["weight", "input"])", "8"), true);
  with.net->load_state_dict([&] {
    auto state = with.net->state_dict();
    for (auto& [name, t] : without.net->state_dict()) state[name] = t;
    return state;
  }());
  REQUIRE_FALSE(with.quantizer(QuantType::kBias).initialised());
  for (int k = 0; k < 2; ++k)
    REQUIRE(with.run().value().to_vector<float>() == without.run().value().to_vector<float>());
  // Its scale is known as soon as those of the input and the weight are.
  REQUIRE(with.quantizer(QuantType::kBias).initialised());
  with.net->eval();
  without.net->eval();
  REQUIRE(with.run().value().to_vector<float>() == without.run().value().to_vector<float>());
}

TEST_CASE("bias: float until input and weight are known, and in the warm-up") {
  Net n(config_of(kTypes, "8", ", \"quant_start_step\": 2"));
  n.run();
  REQUIRE(n.conv->bias_transform()(n.conv->bias).same(n.conv->bias));
  n.q->advance_step();
  n.run();
  REQUIRE_FALSE(n.conv->bias_transform()(n.conv->bias).same(n.conv->bias));
}

TEST_CASE("bias: nothing to simulate before a batch norm; what it needs is asked for by name") {
  Net folded(config_of(kTypes, "8"), false, true);
  REQUIRE_THAT(folded.q->warnings().at(0),
               Catch::Contains("conv") && Catch::Contains("batch norm"));
  REQUIRE_THROWS_WITH(Net(config_of(R"(["weight", "bias"])", "8")),
                      Catch::Contains("conv") && Catch::Contains("no input"));
  REQUIRE_THROWS_WITH(Net(config_of(kTypes, R"({"weight": 8, "input": 8, "bias": 8})")),
                      Catch::Contains("quant_bits.bias") && Catch::Contains("32"));
  REQUIRE_THROWS_WITH(Net(R"([{"quant_types": ["weight", "input", "bias"], "quant_bits": 8,
                              "op_types": ["Conv2d"], "quant_dtype": {"bias": "uint"}}])"),
                      Catch::Contains("quant_dtype.bias"));
}
