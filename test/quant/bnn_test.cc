// Binary networks: NNI's numbers, options, training.
#include <catch2/catch.hpp>
#include <cmath>

#include "quant/bnn.h"
#include "test/quant/binary_values.h"
#include "test/quant/golden_net.h"
#include "test/quant/lenet_run.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

TEST_CASE("NNI's binary Linear behind Hardtanh (case G20): values and gradients") {
  const Context c;
  auto net = make<Sequential>(c);
  auto fc = make<Linear>(c, 4, 3, false);
  net->append("fc", fc).append("act", make_hardtanh(c));
  fc->weight.mutable_value() =
      Tensor::from(c, Shape{3, 4}, Floats{3, 0, 0.5f, -3, 1, -0.0f, -0.25f, 2, 0.1f, -1, 0.0f, 4});
  QuantizerOptions options;
  options.integer = false;
  BnnQuantizer quantizer(*net, R"([{"quant_types": ["weight"], "quant_bits": 1,
      "op_types": ["Linear"]}, {"quant_types": ["output"], "quant_bits": 1,
      "op_types": ["Hardtanh"]}])",
                         nullptr, Tensor(), options);
  quantizer.compress();
  const Variable x(Tensor::from(c, Shape{3, 4},
                                Floats{0.25f, 0, 0, 0, 1, 0, 0, 0,  //
                                       -0.1f, 0.2f, 0.3f, -0.2f}),
                   true);
  Variable y = (*net)(x);
  REQUIRE(y.value().to_vector<float>() == Floats{1, 1, 1, 1, 1, 1, 1, -1, -1});
  REQUIRE(values(*quantizer.points()[0].quantizer, fc->weight) ==
          Floats{1, 1, 1, -1, 1, 1, -1, 1, 1, -1, 1, 1});
  y.backward(Tensor::from(c, Shape{3, 3}, Floats{1, 2, 3, 4, 5, 6, 7, 8, 9}));
  // The second row lies on Hardtanh's bound. The weights' gradient is whole, |w| > 1 too.
  REQUIRE(fc->weight.grad().to_vector<float>() ==
          Floats{-0.45000001788139343f, 1.399999976158142f, 2.1000001430511475f,
                 -1.399999976158142f, -0.30000001192092896f, 1.600000023841858f,
                 2.4000000953674316f, -1.600000023841858f, -0.15000000596046448f,
                 1.8000000715255737f, 2.700000047683716f, -1.8000000715255737f});
  REQUIRE(x.grad().to_vector<float>() == Floats{6, 0, 2, 4, 0, 0, 0, 0, 24, 6, 8, 10});
}

// The trace has the weights of conv2 and the output of relu1 binary; latent weights stay inside
// [-1, 1], so clipping them (which NNI forgets, its bug N1) changes nothing.
TEST_CASE("loss trace of NNI's binary network, and its evaluation (case G25)") {
  const double kLosses[] = {1.6332224607467651, 1.6580657958984375, 1.6573858261108398,
                            1.743661642074585,  1.7421300411224365, 1.6245195865631104,
                            1.6661169528961182, 1.6377278566360474, 1.6215507984161377,
                            1.582074522972107};
  const double kEvaluation[] = {-1.5917623043060303, -1.5827795267105103, -1.7103135585784912,
                                -1.8493127822875977, -1.374856948852539};
  QuantizerOptions options;
  options.integer = false;  // whose biases are rounded to 1/64 of a sign
  GoldenNet net("BNNQuantizer", R"([
      {"quant_types": ["weight"], "quant_bits": 1, "op_names": ["conv2"]},
      {"quant_types": ["output"], "quant_bits": 1, "op_names": ["relu1"]}])",
                options);
  for (int i = 0; i < 10; ++i) REQUIRE(net.step(i) == Approx(kLosses[i]).epsilon(1e-3));
  const Floats y = net.evaluate();
  for (int i = 0; i < 10; ++i) REQUIRE(y[i] == Approx(kEvaluation[i % 5]).epsilon(1e-3));
}

TEST_CASE("the optimizer's step clips latent weights, but not during the float warm-up") {
  for (const int start : {0, 3}) {
    const Context c;
    auto net = make<Sequential>(c);
    auto fc = make<Linear>(c, 2, 1, false);
    net->append("fc", fc);
    fc->weight.mutable_value() = Tensor::from(c, Shape{1, 2}, Floats{0.9f, -5.0f});
    ParameterStore store(*net);
    OptimizerOptions sgd;
    sgd.name = "SGD";
    sgd.lr = 1.0;
    const auto optimizer = make_optimizer(store, sgd);
    QuantizerOptions options;
    options.start_step = start;
    BnnQuantizer quantizer(*net, R"([{"quant_types": ["weight"], "quant_bits": 1,
        "op_types": ["Linear"]}])",
                           optimizer.get(), Tensor(), options);
    quantizer.compress();
    const auto step = [&] {
      optimizer->zero_grad();
      Variable y = (*net)(Variable(Tensor::full(c, {1, 2}, -1.0f)));
      y.backward(Tensor::full(c, {1, 1}, 1.0f));  // w grows by 1
      optimizer->step();
      return fc->weight.value().to_vector<float>();
    };
    REQUIRE(step() == (start == 0 ? Floats{1, -1} : Floats{1.9f, -4}));
    REQUIRE(step() == (start == 0 ? Floats{1, 0} : Floats{1, -1}));  // step 3 is binary
  }
}

TEST_CASE("options are keys of config_list, by type, checked") {
  const auto compress = [](const std::string& config) {
    const Context c;
    Model model = make_model("lenet5", c);
    BnnQuantizer q(*model.module, config);
    q.compress();
    std::map<QuantType, QuantSpec> specs;
    for (const QuantPoint& p : q.points()) specs[p.type] = p.quantizer->spec();
    return specs;
  };
  const std::string head = R"([{"op_names": ["conv2"], "quant_types": ["weight", "input"], )"
                           R"("quant_bits": 1)";
  auto specs = compress(head + R"(, "binarization": {"input": "stochastic"}, "xnor_scale": true,
                                "sign_gradient": "approx_sign", "padding_value": -1}])");
  REQUIRE((specs[QuantType::kInput].stochastic && !specs[QuantType::kWeight].stochastic));
  REQUIRE((specs[QuantType::kInput].approx_sign && specs[QuantType::kWeight].per_channel));
  REQUIRE(specs[QuantType::kWeight].padding_value == -1);
  const auto refuses = [&](const std::string& keys, const std::string& message) {
    REQUIRE_THROWS_WITH(compress(head + ", " + keys + "}]"), Contains(message));
  };
  refuses(R"("binarization": "random")", R"("deterministic" or "stochastic")");
  refuses(R"("sign_gradient": "polynomial")", R"("straight_through" or "approx_sign")");
  refuses(R"("sign_gradient": {"weight": "approx_sign"})", "input, output");
  refuses(R"("xnor_scale": 1)", "true or false");
  refuses(R"("padding_value": 2)", "from -1 to 1");
  refuses(R"("paddin_value": 1)", "padding_value");
  refuses(R"("quant_scheme": "per_tensor_affine")", "quant_scheme");
  const auto refuses_all = [&](const std::string& entry, const std::string& message) {
    REQUIRE_THROWS_WITH(compress("[{\"op_names\": [\"conv2\"], " + entry + "}]"),
                        Contains(message));
  };
  refuses_all(R"("quant_types": ["weight"], "quant_bits": 9)", "1 to 8");
  refuses_all(R"("quant_types": ["gradient"], "quant_bits": 1)", "weight, input, output");
  refuses_all(R"("quant_types": ["input"], "quant_bits": 1, "xnor_scale": true)",
              "quant_types is without weight");
  refuses_all(R"("quant_types": ["weight"], "quant_bits": 1, "sign_gradient": "approx_sign")",
              "without input and output");
}

TEST_CASE("the sign of what is never negative is always +1: a warning says where") {
  DigitsRun run("BNNQuantizer", R"([{"quant_types": ["weight", "input"], "quant_bits": 1,
      "op_names": ["conv1", "fc1"]}, {"quant_types": ["output"], "quant_bits": 1,
      "op_names": ["relu1"]}])");
  REQUIRE(run.quantizer->warnings().size() == 2);
  REQUIRE_THAT(run.quantizer->warnings()[0], Contains("the output of relu1"));
  REQUIRE_THAT(run.quantizer->warnings()[1], Contains("the input of fc1") && Contains("Hardtanh"));
}

TEST_CASE("signs that reals decide are warned of: they have no integer form") {
  for (const char* key :
       {R"("sign_gradient": "approx_sign")", R"("binarization": {"input": "stochastic"})"}) {
    DigitsRun run("BNNQuantizer", std::string(R"([{"quant_types": ["weight", "input"],
        "quant_bits": 1, "op_names": ["conv2"], )") +
                                      key + "}]");
    REQUIRE_THAT(run.quantizer->warnings().front(),
                 Contains("the input of conv2") && Contains("cannot be deployed as integers"));
  }
}

TEST_CASE("options as C++ values") {
  const Context c;
  Model model = make_model("lenet5", c);
  ConfigValues entry;
  entry.quant_types = {"weight", "output"};
  entry.quant_bits = 1;
  entry.op_names = {"conv2"};
  entry.binarization = ByType<std::string>{{"output", "stochastic"}};
  entry.sign_gradient = "approx_sign";
  entry.xnor_scale = true;
  entry.padding_value = 1;
  BnnQuantizer q(*model.module, std::vector<ConfigValues>{entry});
  q.compress();
  REQUIRE(q.points().size() == 2);
  REQUIRE((q.points()[0].quantizer->spec().per_channel &&
           q.points()[1].quantizer->spec().stochastic &&
           q.points()[1].quantizer->spec().approx_sign));
  REQUIRE(dynamic_cast<Conv2d&>(*model.module->find("conv2")).padding_value() == 1.0f);
}

TEST_CASE("a padding that the codes of an input do not hold is refused, and nothing is changed") {
  const Context context;
  const Model model = make_model("lenet5", context);
  const auto& conv1 = dynamic_cast<Conv2d&>(*model.module->find("conv1"));
  const auto& conv2 = dynamic_cast<Conv2d&>(*model.module->find("conv2"));
  REQUIRE(conv1.args().padding > 0);
  BnnQuantizer q(*model.module, std::string(R"([
    {"quant_types": ["weight"], "quant_bits": 1, "op_names": ["conv1", "conv2"], "padding_value": -1},
    {"quant_types": ["weight", "input"], "quant_bits": {"weight": 1, "input": 8},
     "op_names": ["conv1"], "padding_value": -1}])"));
  REQUIRE_THROWS_WITH(
      q.compress(), Contains("config_list entry 2, padding_value of conv1") && Contains("8 bits"));
  CHECK((conv1.padding_value() == 0 && conv2.padding_value() == 0));
}

TEST_CASE("a padding that the codes of an output quantizer do not hold is refused") {
  const Context c;
  for (const int output_bits : {8, 1}) {
    auto net = make<Sequential>(c);
    net->append("conv1", make<Conv2d>(c, Conv2dArgs{1, 2, 3}))
        .append("act", make_hardtanh(c))
        .append("conv2", make<Conv2d>(c, Conv2dArgs{2, 3, 3, 1, 1}));
    const std::string bits = std::to_string(output_bits);
    BnnQuantizer q(*net,
                   std::string(R"([
      {"quant_types": ["weight", "output"], "quant_bits": {"weight": 1, "output": )" +
                               bits + R"(},
       "op_names": ["conv1"]},
      {"quant_types": ["weight"], "quant_bits": 1, "op_names": ["conv2"], "padding_value": -1}])"),
                   nullptr, Tensor::zeros(c, {1, 6, 6, 1}));
    const auto& conv2 = dynamic_cast<Conv2d&>(*net->find("conv2"));
    if (output_bits == 8) {
      REQUIRE_THROWS_WITH(q.compress(), Contains("config_list entry 2, padding_value of conv2") &&
                                            Contains("act.activation_post_process, has 8 bits") &&
                                            Contains("-1"));
      REQUIRE((conv2.padding_value() == 0 && !net->find("act")->output_transform()));
      continue;
    }
    q.compress();
    REQUIRE(conv2.padding_value() == -1);
    REQUIRE((*net)(Variable(spread(c, {2, 6, 6, 1}, -1, 1))).value().numel() == 96);
  }
}

TEST_CASE("LeNet-5 with binary layers between the first and the last learns digits") {
  DigitsRun run("BNNQuantizer", R"([{"quant_types": ["weight", "input"], "quant_bits": 1,
      "op_names": ["conv2", "fc1", "fc2"]}])",
                {}, "hardtanh");
  REQUIRE(run.quantizer->warnings().empty());
  for (const char* layer : {"conv2", "fc1", "fc2"})
    REQUIRE(run.quantizer->integer_obstacle(layer).empty());
  const float first = run.epoch();
  for (int k = 0; k < 3; ++k) run.epoch();
  REQUIRE(run.epoch() < 0.5f * first);
}
