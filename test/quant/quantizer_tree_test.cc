// Quantizers and the module tree: transforms, changes, dropout.
#include <catch2/catch.hpp>
#include <cmath>

#include "quant/quantizer.h"
#include "tensor/safetensors.h"
#include "test/quant/quantizer_run.h"

using namespace halftone;
using namespace halftone::test;

namespace {

// conv - bn - relu - flatten - fc, quantized, with one slot to spoil.
struct Small {
  explicit Small(const std::string& config, bool graph = true) : net(make<Sequential>(c)) {
    net->append("conv", make<Conv2d>(c, Conv2dArgs{1, 2, 3}))
        .append("bn", make<BatchNorm>(c, 2, 2))
        .append("relu", make_relu(c))
        .append("flatten", make<Flatten>(c));
    net->append("fc", make<Linear>(c, 8, 3));
    quantizer = make_quantizer("QAT_Quantizer", *net, config, nullptr,
                               graph ? Tensor::zeros(c, {1, 4, 4, 1}) : Tensor());
  }
  Variable run() { return (*net)(Variable(spread(c, {2, 4, 4, 1}, -1, 1))); }
  Slot& slot(const std::string& name) {
    for (Slot& s : net->children()) {
      if (s.name() == name) return s;
    }
    throw std::logic_error(name);
  }
  Context c{two_threads()};
  std::shared_ptr<Sequential> net;
  std::unique_ptr<Quantizer> quantizer;
};

}  // namespace

TEST_CASE("a tree changed after compress() is refused, not misread") {
  Small replaced(kConfig), extended(kConfig), fine(kConfig);
  for (Small* s : {&replaced, &extended, &fine}) {
    s->quantizer->compress();
    s->run();
  }
  replaced.slot("bn").set(make<Identity>(replaced.c));
  extended.net->find("conv")->output_transform().set(make<Identity>(extended.c));
  for (Small* s : {&replaced, &extended}) {
    REQUIRE_THROWS_WITH(s->run(), Catch::Contains("changed after compress()"));
    REQUIRE_THROWS_WITH(s->quantizer->export_model("", ""),
                        Catch::Contains("changed after compress()"));
  }
  fine.run();  // other trees' changes do not count
  REQUIRE_THROWS_WITH(make_quantizer("QAT_Quantizer", *fine.net, kConfig)->compress(),
                      Catch::Contains("quantized already"));
}

TEST_CASE("an output transform ends the chain before it") {
  Small s(kConfig);
  s.net->find("conv")->output_transform().set(make<Identity>(s.c));
  s.quantizer->compress();
  REQUIRE(s.quantizer->chains().at(0)->norm == nullptr);
  REQUIRE(s.run().value().numel() == 6);

  Small taken(R"([{"quant_types": ["output"], "quant_bits": 8, "op_types": ["Conv2d"]}])");
  taken.net->find("conv")->output_transform().set(make<Identity>(taken.c));
  REQUIRE_THROWS_WITH(taken.quantizer->compress(),
                      Catch::Contains("conv") && Catch::Contains("a Identity"));
}

TEST_CASE("weight and output quantized: the output's codes make the next layer an integer one") {
  const std::string config = R"([{"quant_types": ["weight", "output"], "quant_bits": 8,
    "op_types": ["Conv2d", "Linear"], "quant_dtype": {"weight": "int", "output": "uint"},
    "quant_scheme": {"weight": "per_channel_symmetric", "output": "per_tensor_affine"}}])";
  Small s(config);
  s.quantizer->compress();
  s.run();
  REQUIRE(s.quantizer->integer_obstacle("fc").empty());
  REQUIRE(s.quantizer->integer_obstacle("conv") == "no quantized input reaches it");
  TemporaryFile a("e.safetensors");
  s.quantizer->export_model(a.path, "");
  const auto t = load_safetensors(s.c, a.path).tensors;
  REQUIRE(t.count("fc.integer.weight_codes") == 1);
  REQUIRE(t.at("fc.integer.input_scale").item<float>() ==
          t.at("relu.activation_post_process.scale").item<float>());
  REQUIRE(t.count("conv.integer.weight_codes") == 0);

  Small alone(config, false);  // without a graph nobody knows what arrives
  alone.quantizer->compress();
  REQUIRE(alone.quantizer->integer_obstacle("fc") == "no quantized input reaches it");
}

TEST_CASE("dropout keeps codes codes") {
  const Context c(two_threads());
  auto net = make<Sequential>(c);
  net->append("fc1", make<Linear>(c, 20, 30))
      .append("relu", make_relu(c))
      .append("drop", make<Dropout>(c, 0.25f));
  net->append("fc2", make<Linear>(c, 30, 4));
  auto q = make_quantizer("QAT_Quantizer", *net, kConfig, nullptr, Tensor::zeros(c, {2, 20}));
  q->compress();
  const Variable x(spread(c, {16, 20}, -1, 1), true);
  const Variable hidden = (*net->find("relu"))((*net->find("fc1"))(x));
  Variable dropped = (*net->find("drop"))(hidden);
  REQUIRE(hidden.codes() != nullptr);
  REQUIRE(dropped.codes() != nullptr);
  int64_t kept = 0;
  const Tensor before = hidden.value(), after = dropped.value();
  for (int64_t i = 0; i < before.numel(); ++i) {
    const float v = after.data<float>()[i], b = before.data<float>()[i];
    REQUIRE((v == 0.0f || v == Approx(b / 0.75f)));
    kept += v != 0.0f;
  }
  REQUIRE(kept > 0);
  Variable y = (*net->find("fc2"))(dropped);
  y.backward(Tensor::full(c, y.shape(), 1.0f));
  REQUIRE(x.grad().defined());
  net->eval();
  REQUIRE((*net->find("drop"))(hidden).same(hidden));
}

TEST_CASE("dropout of codes gives the same codes and gradients on any number of threads") {
  std::vector<uint8_t> first;
  std::vector<float> gradient;
  for (const int threads : {1, 3}) {
    ContextOptions options = two_threads();
    options.threads = threads;
    const Context c(options);
    auto net = make<Sequential>(c);
    net->append("fc1", make<Linear>(c, 20, 600)).append("drop", make<Dropout>(c, 0.25f));
    const std::string config = R"([{"quant_types": ["weight", "input", "output"], "quant_bits": 8,
      "op_types": ["Linear"], "quant_dtype": {"weight": "int", "input": "uint", "output": "uint"},
      "quant_scheme": {"weight": "per_tensor_symmetric", "input": "per_tensor_affine",
                       "output": "per_tensor_affine"}}])";
    auto q = make_quantizer("QAT_Quantizer", *net, config, nullptr, Tensor::zeros(c, {2, 20}));
    q->compress();
    const Variable x(spread(c, {200, 20}, -1, 1), true);  // 120,000 codes: several chunks
    Variable y = (*net)(x);
    REQUIRE(y.codes() != nullptr);
    y.backward(spread(c, y.shape(), -1, 1, 3));
    const auto codes = y.codes()->values.to_vector<uint8_t>();
    const auto dw = dynamic_cast<Linear&>(*net->find("fc1")).bias.grad().to_vector<float>();
    if (threads == 1) first = codes, gradient = dw;
    REQUIRE(codes == first);
    REQUIRE(dw == gradient);
  }
}
