// What computes on floats between quantized layers, and why.
#include <catch2/catch.hpp>

#include "nn/layers.h"
#include "quant/quantizer.h"

using namespace halftone;

namespace {

using Found = std::map<std::string, std::string>;

// relu(bn(conv1(x))) + conv1's neighbour, pooled, and a linear layer; an average pooling of images
// in front, a Softmax at the end.
struct Net : Module {
  explicit Net(const Context& c) : Module(c) {
    register_child("before", make<AvgPool2d>(c, pool_options(2)));
    register_child("conv1", make<Conv2d>(c, Conv2dArgs{2, 4, 3, 1, 1}));
    register_child("bn", make<BatchNorm>(c, 4, 2));
    register_child("relu", make_relu(c));
    register_child("conv2", make<Conv2d>(c, Conv2dArgs{4, 4, 3, 1, 1}));
    register_child("add", make<Add>(c));
    register_child("relu2", make_relu(c));
    register_child("max", make<MaxPool2d>(c, pool_options(2)));
    register_child("avg", make<AdaptiveAvgPool2d>(c, 1, 1));
    register_child("flat", make<Flatten>(c));
    register_child("fc", make<Linear>(c, 4, 3));
    register_child("softmax", make<Softmax>(c));
  }
  std::string type_name() const override { return "Net"; }
  Slot& at(const std::string& name) {
    for (Slot& s : children()) {
      if (s.name() == name) return s;
    }
    throw std::logic_error(name);
  }
  Variable forward(const std::vector<Variable>& in) override {
    const Variable a = at("relu")(at("bn")(at("conv1")(at("before")(in.at(0)))));
    const Variable sum = at("relu2")((*at("add").get())({at("conv2")(a), a}));
    return at("softmax")(at("fc")(at("flat")(at("avg")(at("max")(sum)))));
  }
};

Found found(const std::string& config, bool graph = true, const QuantizerOptions& options = {}) {
  const Context c;
  auto net = make<Net>(c);
  const auto q = make_quantizer("QAT_Quantizer", *net, "[" + config + "]", nullptr,
                                graph ? Tensor::zeros(c, {1, 8, 8, 2}) : Tensor(), options);
  q->compress();
  return q->float_layers();
}

std::string layers(const std::string& more = "",
                   const std::string& types = "\"weight\", \"input\"") {
  return R"({"quant_types": [)" + types + R"(], "quant_bits": 8, "op_types": ["Conv2d", "Linear"],
    "quant_dtype": {"weight": "int"}, "quant_scheme": {"weight": "per_channel_symmetric"})" +
         more + "}";
}

const char* const kSums = R"({"quant_types": ["output"], "quant_bits": 8, "op_types": ["Add"]})";

std::vector<std::string> names(const Found& f) {
  std::vector<std::string> out;
  for (const auto& [name, why] : f) out.push_back(name);
  return out;
}

}  // namespace

TEST_CASE("an average pooling and an unquantized sum are named, with the reason") {
  const Found f = found(layers());
  // Not the pooling in front, nor the Softmax behind; relu2 and max follow add.
  REQUIRE(names(f) == std::vector<std::string>{"add", "avg"});
  CHECK_THAT(f.at("add"), Catch::Contains("its result is not quantized"));
  CHECK_THAT(f.at("avg"), Catch::Contains("no codes reach it: quantize the output"));
  // Of the sum's codes the average is one of integers.
  CHECK(found(layers() + ", " + kSums).empty());
}

TEST_CASE("a batch norm apart, and its activation") {
  const Found f = found(layers(R"(, "fold": "none")") + ", " + kSums);
  REQUIRE(names(f) == std::vector<std::string>{"bn"});
  CHECK_THAT(f.at("bn"), Catch::Contains("not folded"));
}

TEST_CASE("a layer in float between quantized ones, and a layer without an integer form") {
  const std::string none = R"({"exclude": true, "op_names": ["conv2"]})";
  const Found left_out = found(layers() + ", " + none);
  CHECK(left_out.at("conv2") == "its weight is not quantized");
  const std::string wide = R"({"quant_types": ["weight", "input"],
      "quant_bits": {"weight": 16, "input": 8}, "op_names": ["conv1"]})";
  const Found f = found(layers() + ", " + kSums + ", " + wide);
  CHECK(f.at("conv1") == "weights of more than 8 bits");
  CHECK(f.count("bn") + f.count("relu") == 0);  // they follow conv1
}

TEST_CASE("without a graph, and on the float path, quantized layers are named alone") {
  QuantizerOptions floats;
  floats.integer = false;
  const std::vector<std::string> all{"conv1", "conv2", "fc"};
  CHECK(names(found(layers(), true, floats)) == all);
  CHECK(names(found(layers("", "\"weight\""), false)) == all);
}
