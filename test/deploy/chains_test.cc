// Every kind of chain: convolution or linear, pooling, batch norm, activation, widths and folds.
#include <catch2/catch.hpp>

#include "test/deploy/deployed_net.h"
#include "test/quant/chain_net.h"

using namespace halftone;
using namespace halftone::test;

TEST_CASE("every chain's program gives the codes of its evaluation") {
  std::vector<Case> all = cases();
  for (const Case& c : learned_cases()) all.push_back(c);
  for (const Case& c : zero_point_cases()) all.push_back(c);
  for (const Case& c : all) {
    INFO(c.name);
    if (c.linear) continue;  // networks of whole images are below
    Net net(c);
    const Shape chw{c.conv.in_channels, 7, 9};
    const Dataset data = random_images(net.context, chw, 12, 3);
    warm(*net.model, *net.quantizer, data);
    const VerifyReport r = verify_all(*net.model, deploy(*net.quantizer, data));
    INFO(to_table(r));
    REQUIRE(r.passes());
    REQUIRE(r.parties.size() >= 2);
    for (const PartyReport& p : r.parties) {
      REQUIRE(p.codes > 0);
      REQUIRE(p.not_shown.empty());
    }
  }
}

TEST_CASE("weights of few bits are stored in few bits") {
  std::vector<Case> all = cases();
  for (const Case& c : zero_point_cases()) all.push_back(c);
  for (const Case& c : all) {
    if (c.linear || (c.weight_bits == 8 && c.grid == Case::Grid::kSymmetric)) continue;
    INFO(c.name);
    Net net(c);
    const Dataset data = random_images(net.context, {c.conv.in_channels, 7, 9}, 4, 3);
    warm(*net.model, *net.quantizer, data);
    const runtime::Program program = deploy(*net.quantizer, data).compiled.program;
    const runtime::Op& op = program.ops.back();
    REQUIRE(op.weights.bits == c.weight_bits);
    REQUIRE(static_cast<int64_t>(op.weights.packed.size()) ==
            (net.weight().value().numel() * c.weight_bits + 7) / 8);
  }
}

namespace {

// Of learned scales: symmetric.
const char* const kLearned = R"([{"quant_types": ["weight", "input"], "quant_bits": BITS,
  "op_types": ["Conv2d", "Linear"]}])";
const char* const kAll = R"([{"quant_types": ["weight", "input"], "quant_bits": BITS,
  "op_types": ["Conv2d", "Linear"], "quant_dtype": {"weight": "int", "input": "uint"},
  "quant_scheme": {"weight": "per_channel_symmetric", "input": "per_tensor_affine"}}])";

// Weights of 8 bits, inputs of `bits`, and outputs of 8 if wanted; batch norm apart.
std::string entry(const std::string& layer, int bits, bool outputs = false) {
  std::string text = R"({"quant_types": ["weight", "input" OUTPUT], "fold": "none",
    "quant_bits": {"weight": 8, "input": BITS OUT8},
    "quant_dtype": {"weight": "int", "input": "uint" OUTTYPE}, "op_names": ["LAYER"],
    "quant_scheme": {"weight": "per_channel_symmetric", "input": "per_tensor_affine" OUTSCHEME}})";
  text = replace(replace(text, "LAYER", layer), "BITS", std::to_string(bits));
  text = replace(text, "OUTPUT", outputs ? R"(, "output")" : "");
  text = replace(text, "OUT8", outputs ? R"(, "output": 8)" : "");
  text = replace(text, "OUTTYPE", outputs ? R"(, "output": "uint")" : "");
  return replace(text, "OUTSCHEME", outputs ? R"(, "output": "per_tensor_affine")" : "");
}
std::string output(const std::string& layer) {
  return R"({"quant_types": ["output"], "op_names": [")" + layer +
         R"("], "quant_bits": 8, "quant_dtype": "uint", "quant_scheme": "per_tensor_affine"})";
}

// conv - batch norm - ReLU - pool - flatten - linear - batch norm - ReLU - linear.
struct SmallNet {
  explicit SmallNet(const std::string& bits, const std::string& name = "QAT_Quantizer") {
    net->append("conv", make<Conv2d>(c, Conv2dArgs{3, 6, 3, 1, 1}))
        .append("norm", make<BatchNorm>(c, 6, 2))
        .append("relu", make_relu(c))
        .append("pool", make<MaxPool2d>(c, pool_options(3, 2, 1)))
        .append("flatten", make<Flatten>(c))
        .append("fc1", make<Linear>(c, 6 * 4 * 5, 11))
        .append("norm1", make<BatchNorm>(c, 11, 1))
        .append("relu1", make_relu(c))
        .append("fc2", make<Linear>(c, 11, 5));
    quantizer = make_quantizer(name, *net, replace(name[0] == 'L' ? kLearned : kAll, "BITS", bits),
                               nullptr, Tensor::zeros(c, {1, 8, 10, 3}));
    quantizer->compress();
    warm(*net, *quantizer, data);
  }
  const Context c{Net::options(2)};
  std::shared_ptr<Sequential> net = make<Sequential>(c);
  std::unique_ptr<Quantizer> quantizer;
  const Dataset data = random_images(c, {3, 8, 10}, 23, 5);
};

}  // namespace

TEST_CASE("a network with pooling, flatten and linear layers, from bytes to logits") {
  for (const char* name : {"QAT_Quantizer", "LsqQuantizer"}) {
    for (const char* bits : {"8", "4", "2", R"({"weight": 2, "input": 5})"}) {
      if (std::string(name) == "LsqQuantizer" && bits[0] == '{') continue;
      INFO(name << " " << bits);
      SmallNet small(bits, name);
      const Deployed d = deploy(*small.quantizer, small.data);
      REQUIRE(d.program->ops.size() == 5);  // table, conv, pool, fc1, fc2
      REQUIRE(d.program->result().is_float);
      const VerifyReport r = verify_all(*small.net, d);
      INFO(to_table(r));
      REQUIRE(r.passes());
      REQUIRE(r.parties[0].logits == 23 * 5);
    }
  }
}

TEST_CASE("an input quantizer of other bits than the one before it is a table of codes") {
  const Context c(Net::options(2));
  auto net = make<Sequential>(c);
  net->append("a", make<Conv2d>(c, Conv2dArgs{3, 4, 3}))
      .append("relu", make_relu(c))
      .append("b", make<Conv2d>(c, Conv2dArgs{4, 4, 3}));
  const std::string config = "[" + entry("a", 8) + "," + output("relu") + "," + entry("b", 3) + "]";
  auto q = make_quantizer("QAT_Quantizer", *net, config, nullptr, Tensor::zeros(c, {1, 8, 8, 3}));
  q->compress();
  const Dataset data = random_images(c, {3, 8, 8}, 9, 3);
  warm(*net, *q, data);
  const Deployed d = deploy(*q, data);
  REQUIRE(d.program->ops[2].kind == runtime::OpKind::kTable);
  const VerifyReport r = verify_all(*net, d);
  INFO(to_table(r));
  REQUIRE(r.passes());
  REQUIRE(r.tensors[2].distinct <= 8);
}

TEST_CASE("elementwise steps between two quantizers are one table, per channel") {
  const Context c(Net::options(2));
  auto net = make<Sequential>(c);
  net->append("a", make<Conv2d>(c, Conv2dArgs{3, 4, 3}))
      .append("norm", make<BatchNorm>(c, 4, 2))
      .append("act", make_leaky_relu(c, 0.1f))
      .append("b", make<Conv2d>(c, Conv2dArgs{4, 4, 3}));
  const std::string config = "[" + entry("a", 8, true) + "," + entry("b", 8) + "]";
  auto q = make_quantizer("QAT_Quantizer", *net, config, nullptr, Tensor::zeros(c, {1, 8, 8, 3}));
  q->compress();
  for (Variable* v : {&dynamic_cast<BatchNorm&>(*net->find("norm")).weight})
    v->mutable_value().copy_from(spread(c, {4}, -1.0f, 2.0f));
  const Dataset data = random_images(c, {3, 8, 8}, 9, 3);
  warm(*net, *q, data);
  const Deployed d = deploy(*q, data);
  REQUIRE(d.program->ops[2].kind == runtime::OpKind::kTable);
  REQUIRE(d.program->ops[2].table.size() == 4 * 256);
  const VerifyReport r = verify_all(*net, d);
  INFO(to_table(r));
  REQUIRE(r.passes());
}

TEST_CASE("what has no integer form is refused with training's reason") {
  const Context c(Net::options(2));
  const auto message = [&](const std::string& config) {
    auto fresh = make<Sequential>(c);
    fresh->append("a", make<Conv2d>(c, Conv2dArgs{3, 4, 3}))
        .append("relu", make_relu(c))
        .append("pool", make<AdaptiveAvgPool2d>(c, 3, 3))
        .append("b", make<Conv2d>(c, Conv2dArgs{4, 4, 3}));
    auto q =
        make_quantizer("QAT_Quantizer", *fresh, config, nullptr, Tensor::zeros(c, {1, 10, 10, 3}));
    q->compress();
    const Dataset data = random_images(c, {3, 10, 10}, 9, 3);
    warm(*fresh, *q, data);
    try {
      deploy(*q, data);
    } catch (const Error& e) {
      return std::string(e.what()) + " | " + q->integer_obstacle("b");
    }
    return std::string("deployed");
  };
  const std::string weight_only = message(
      "[" + entry("a", 8) + R"(, {"quant_types": ["weight"], "quant_bits": 8, "op_names": ["b"],
        "quant_dtype": "int", "quant_scheme": "per_channel_symmetric"}])");
  REQUIRE_THAT(weight_only, Catch::Contains("b: no quantized input reaches it"));
  const std::string wide = message("[" + entry("a", 8) + "," + entry("b", 12) + "]");
  const std::string reason = wide.substr(wide.find(" | ") + 3);
  REQUIRE(reason.size() > 10);
  REQUIRE(wide.find("b: " + reason) < wide.find(" | "));
  const std::string averaged =
      message("[" + entry("a", 8) + "," + output("relu") + "," + entry("b", 8) + "]");
  REQUIRE_THAT(averaged, Catch::Contains("pool: its windows do not all average as many values"));
}

TEST_CASE("a quantizer that has not started is refused") {
  SmallNet small("8");
  for (const QuantPoint& p : small.quantizer->points()) p.quantizer->enable(false, true);
  REQUIRE_THROWS_WITH(deploy(*small.quantizer, small.data),
                      Catch::Contains("has seen no data") && Catch::Contains("conv"));
}

TEST_CASE("few output channels of few bits, the last byte of weights half empty") {
  const Context c(Net::options(2));
  auto net = make<Sequential>(c);
  auto norm = make<BatchNorm>(c, 2, 2);
  net->append("conv", make<Conv2d>(c, Conv2dArgs{5, 2, 1})).append("norm", norm);
  Tensor& gamma = norm->weight.mutable_value();
  gamma.data<float>()[0] = -1.0f;  // negated weights
  auto q = make_quantizer("QAT_Quantizer", *net, replace(kAll, "BITS", "2"), nullptr,
                          Tensor::zeros(c, {1, 4, 4, 5}));
  q->compress();
  const Dataset data = random_images(c, {5, 4, 4}, 9, 2);
  warm(*net, *q, data);
  const Deployed d = deploy(*q, data);
  REQUIRE(d.program->ops.back().channels[0].negated);
  REQUIRE(d.program->ops.back().weights.packed.size() == 3);
  const VerifyReport r = verify_all(*net, d);
  INFO(to_table(r));
  REQUIRE(r.passes());
}
