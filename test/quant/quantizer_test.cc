// Quantizers in a network: where they sit, training, evaluation, what they refuse.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>

#include "nn/zoo/zoo.h"
#include "quant/quantizer.h"
#include "test/quant/lenet_run.h"
#include "test/quant/quantizer_run.h"

using namespace halftone;
using namespace halftone::test;

TEST_CASE("LeNet-5: quantizers sit on edges, every layer has an integer form") {
  Run run(kConfig);
  REQUIRE(run.quantizer->warnings().empty());
  REQUIRE(run.quantizer->chains().size() == 5);
  std::map<std::string, std::string> places;
  for (const QuantPoint& p : run.quantizer->points()) {
    REQUIRE(run.quantizer->integer_obstacle(p.module).empty());
    if (p.type == QuantType::kInput) places[p.module] = p.quantizer->path();
  }
  REQUIRE(places == std::map<std::string, std::string>{{"conv1", "conv1.input_fake_quant"},
                                                       {"conv2", "relu1.activation_post_process"},
                                                       {"fc1", "relu2.activation_post_process"},
                                                       {"fc2", "relu3.activation_post_process"},
                                                       {"fc3", "relu4.activation_post_process"}});
  // Parameters stay where they were.
  REQUIRE(run.model->named_parameters().size() == Run("").model->named_parameters().size());
}

TEST_CASE("training on integers learns") {
  Run run(kConfig);
  const float first = run.step(0);
  float last = 0;
  for (int k = 1; k < 30; ++k) last = run.step(0);
  REQUIRE(last < 0.2f * first);
}

TEST_CASE("warm-up is the float model, bit for bit, and so is its evaluation") {
  Run plain("");
  Run quantized(kConfig, 4);
  for (int k = 0; k < 3; ++k) {
    REQUIRE(plain.step(k) == quantized.step(k));
    // After the last float step the ranges are known, and what would deploy is evaluated.
    REQUIRE((plain.evaluate() == quantized.evaluate()) == (k < 2));
  }
  REQUIRE(quantized.quantizer->step() == 4);
  REQUIRE(plain.step(3) != quantized.step(3));
}

TEST_CASE("evaluation before any step is the float model's, finite") {
  REQUIRE(Run("").evaluate() == Run(kConfig).evaluate());
}

TEST_CASE("evaluation changes no state") {
  Run run(kConfig);
  run.step(0);
  const auto before = run.model->state_dict();
  run.evaluate();
  for (const auto& [name, tensor] : run.model->state_dict()) {
    CAPTURE(name);
    REQUIRE(std::memcmp(tensor.raw(), before.at(name).raw(), tensor.nbytes()) == 0);
  }
}

TEST_CASE("save, load, continue: the same bits") {
  Run first(kConfig, 3);
  for (int k = 0; k < 4; ++k) first.step(k);
  Run second(kConfig, 3);
  second.model->load_state_dict(first.model->state_dict());
  second.optimizer->load_state_dict(first.optimizer->state_dict());
  REQUIRE(second.quantizer->step() == 5);
  REQUIRE(first.evaluate() == second.evaluate());
  for (int k = 4; k < 7; ++k) REQUIRE(first.step(k) == second.step(k));
}

TEST_CASE("the integer path agrees with float simulation of the same quantizers") {
  Run integer(kConfig), simulated(kConfig, 0, false);
  for (int k = 0; k < 3; ++k) {
    // Dequantized operands round differently: some codes differ by one, so the losses by little.
    REQUIRE(integer.step(k) == Approx(simulated.step(k)).epsilon(0.02));
  }
}

TEST_CASE("a dead network stays finite") {
  Run run(kConfig);
  for (auto& [name, p] : run.model->named_parameters()) p.mutable_value().fill(0.0f);
  REQUIRE(std::isfinite(run.step(0)));
  for (const float v : run.evaluate()) REQUIRE(std::isfinite(v));
  REQUIRE(std::isfinite(run.step(1)));
}

TEST_CASE("NaN in weights, batch norm or input is an error with its place, never a code") {
  const auto spoil = [](Run& run, const std::string& wanted) {
    for (auto& [name, p] : run.model->named_parameters()) {
      if (name == wanted) p.mutable_value().data<float>()[1] = NAN;
    }
  };
  for (const bool integer : {true, false}) {
    Run run(kConfig, 0, integer);
    run.step(0);
    spoil(run, "conv2.weight");
    REQUIRE_THROWS_WITH(run.step(1), Catch::Contains("conv2") && Catch::Contains("NaN"));
    if (integer) {
      REQUIRE_THROWS_WITH(run.evaluate(), Catch::Contains("conv2.weight"));
    }
  }
  Run norm(kConfig);
  norm.step(0);
  spoil(norm, "bn2.weight");
  REQUIRE_THROWS_WITH(norm.step(1), Catch::Contains("conv2") && Catch::Contains("channel 1"));
  REQUIRE_THROWS_WITH(norm.evaluate(), Catch::Contains("conv2") && Catch::Contains("channel 1"));
  Run bias(kConfig);
  bias.step(0);
  spoil(bias, "fc2.bias");
  REQUIRE_THROWS_WITH(bias.step(1), Catch::Contains("fc2") && Catch::Contains("channel 1"));
  Run input(kConfig);
  input.step(0);
  Tensor x = spread(input.context, input.model.batch_shape(2), -1, 1);
  x.data<float>()[5] = NAN;
  REQUIRE_THROWS_WITH(input.logits(x), Catch::Contains("conv1") && Catch::Contains("NaN"));
  input.model->eval();
  REQUIRE_THROWS_WITH(input.logits(x), Catch::Contains("conv1") && Catch::Contains("NaN"));
}

TEST_CASE("what has no integer form runs on the float path and says why") {
  std::string rows = kConfig;
  rows.replace(rows.find("\"quant_dtype\""), 0, R"("axis": {"weight": 1}, )");
  Run run(rows);
  REQUIRE(run.quantizer->integer_obstacle("conv1") ==
          "weight scales on an axis other than the output channel");
  REQUIRE(run.quantizer->warnings().size() == 5);
  REQUIRE(std::isfinite(run.step(0)));
  REQUIRE(run.evaluate() != Run("").evaluate());
  REQUIRE(Run(kConfig, 0, false).quantizer->integer_obstacle("fc1") ==
          "the float path was asked for");
}

TEST_CASE("without a dummy input every layer quantizes its own input") {
  const Context c;
  Model model = make_model("lenet5", c);
  auto q = make_quantizer("QAT_Quantizer", *model.module, kConfig);
  q->compress();
  q->compress();  // a second call does nothing
  const Variable y = (*model.module)(Variable(spread(c, model.batch_shape(4), -1, 1)));
  REQUIRE(model->find("fc2.input_fake_quant") != nullptr);
  for (const float v : y.value().to_vector<float>()) REQUIRE(std::isfinite(v));
}

TEST_CASE("misplaced types and unknown quantizers are refused by name") {
  const Context c;
  Model model = make_model("lenet5", c);
  const char* bad = R"([{"quant_types": ["weight"], "quant_bits": 8, "op_names": ["relu1"]}])";
  REQUIRE_THROWS_WITH(make_quantizer("QAT_Quantizer", *model.module, bad)->compress(),
                      Catch::Contains("relu1") && Catch::Contains("Conv2d or Linear"));
  REQUIRE_THROWS_WITH(make_quantizer("QAT_Quantiser", *model.module, "[]"),
                      Catch::Contains("did you mean QAT_Quantizer"));
  auto q = make_quantizer("QAT_Quantizer", *model.module, "[]");
  REQUIRE_THROWS_WITH(q->set_quant_scheme_dtype("weights", "per_tensor_affine", "int"),
                      Catch::Contains("weights"));
  q->compress();
  REQUIRE_THAT(q->warnings().at(0), Catch::Contains("quantizes nothing"));
}

TEST_CASE("defaults of a type can be changed before compress") {
  const Context c;
  Model model = make_model("lenet5", c);
  auto q =
      make_quantizer("QAT_Quantizer", *model.module,
                     R"([{"quant_types": ["weight"], "quant_bits": 4, "op_types": ["Conv2d"]}])");
  q->set_quant_scheme_dtype("weight", "per_channel_symmetric", "int");
  q->compress();
  REQUIRE(q->points()[0].quantizer->spec().str() == "int4 per-channel (axis 0) symmetric");
}

TEST_CASE("the first and the last layer take bits of their own") {
  const Context c;
  for (const bool traced : {true, false}) {
    Model model = make_model("lenet5", c);
    ConfigValues entry;
    entry.quant_types = {"weight", "input"};
    entry.quant_bits = 4;
    entry.first_layer_bits = 8;
    entry.last_layer_bits = ByType<int>({{"weight", 6}});
    entry.op_types = {"Conv2d", "Linear"};
    auto q = make_quantizer("QAT_Quantizer", *model.module, std::vector<ConfigValues>{entry},
                            nullptr, traced ? Tensor::zeros(c, model.batch_shape(1)) : Tensor());
    q->compress();
    std::map<std::string, int> bits;
    for (const QuantPoint& p : q->points())
      bits[p.module + " " + name_of(p.type)] = p.quantizer->spec().bits;
    CHECK((bits["conv1 weight"] == 8 && bits["conv1 input"] == 8));
    CHECK((bits["conv2 weight"] == 4 && bits["fc2 input"] == 4));
    CHECK((bits["fc3 weight"] == 6 && bits["fc3 input"] == 4));
  }
}

TEST_CASE("ResNet-20: residual edges keep quantizers of their own, and it trains") {
  const Context c(two_threads());
  Model model = make_model("resnet20", c);
  auto q = make_quantizer("QAT_Quantizer", *model.module, kConfig, nullptr,
                          Tensor::zeros(c, model.batch_shape(1)));
  q->compress();
  for (const ChainPtr& chain : q->chains()) {
    const std::string path = chain->anchor->path();
    const bool first = path.find("conv1") != std::string::npos && path != "conv1";
    CAPTURE(path);
    REQUIRE((chain->norm != nullptr) == (path != "linear"));
    REQUIRE((chain->activation != nullptr) == (first || path == "conv1"));
    REQUIRE((chain->output != nullptr) == first);  // others feed the Add too
  }
  Variable loss = cross_entropy((*model.module)(Variable(spread(c, model.batch_shape(2), -1, 1))),
                                Tensor::from(c, Shape{2}, std::vector<int64_t>{1, 2}));
  loss.backward();
  for (auto& [name, p] : model->named_parameters()) {
    CAPTURE(name);
    REQUIRE(p.grad().defined());
  }
}
