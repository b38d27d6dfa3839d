// DoReFa in networks.
#include <catch2/catch.hpp>
#include <cmath>

#include "quant/dorefa.h"
#include "quant/dorefa_quantize.h"
#include "test/quant/dorefa_values.h"
#include "test/quant/golden_net.h"
#include "test/quant/lenet_run.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

TEST_CASE("bit widths by type; layers on codes; the gradient slot stands at the result") {
  DigitsRun run("DoReFaQuantizer", R"([{"quant_types": ["weight", "input", "gradient"],
      "quant_bits": {"weight": 1, "input": 2, "gradient": 4}, "op_names": ["conv2", "fc?"]},
      {"exclude": true, "op_names": ["fc3"]}])");
  std::map<std::string, int> bits;
  for (const QuantPoint& p : run.quantizer->points())
    bits[p.module + " " + p.quantizer->path()] = p.quantizer->spec().bits;
  REQUIRE(bits == std::map<std::string, int>{{"conv2 conv2.weight_fake_quant", 1},
                                             {"conv2 conv2.input_fake_quant", 2},
                                             {"conv2 conv2.gradient_fake_quant", 4},
                                             {"fc1 fc1.weight_fake_quant", 1},
                                             {"fc1 relu2.activation_post_process", 2},
                                             {"fc1 fc1.gradient_fake_quant", 4},
                                             {"fc2 fc2.weight_fake_quant", 1},
                                             {"fc2 relu3.activation_post_process", 2},
                                             {"fc2 fc2.gradient_fake_quant", 4}});
  for (const char* layer : {"conv2", "fc1", "fc2"})
    REQUIRE(run.quantizer->integer_obstacle(layer).empty());
  REQUIRE(run.quantizer->warnings().empty());
}

TEST_CASE("a layer on codes has the quantized gradient, as one on floats") {
  for (const bool integer : {true, false}) {
    Context c;
    auto net = make<Sequential>(c);
    net->append("fc", make<Linear>(c, 6, 9));
    QuantizerOptions options;
    options.integer = integer;
    DorefaQuantizer quantizer(*net, R"([{"quant_types": ["weight", "input", "gradient"],
        "quant_bits": 2, "op_types": ["Linear"]}])",
                              nullptr, Tensor::zeros(c, {1, 6}), options);
    quantizer.compress();
    REQUIRE(quantizer.chains().size() == (integer ? 1 : 0));
    Variable y = (*net)(Variable(Tensor::from(c, Shape{1, 6}, inputs(6, 0, 1, 1))));
    const Floats dy = inputs(9, -2, 1, 5);
    y.backward(Tensor::from(c, Shape{1, 9}, dy));
    float m = 0;
    for (const float v : dy) m = std::max(m, std::fabs(v));
    // One sample: the bias has the gradient itself.
    const Floats db = dynamic_cast<Linear&>(*net->find("fc")).bias.grad().to_vector<float>();
    for (size_t i = 0; i < db.size(); ++i) {
      const float steps = db[i] / m * 3.0f;
      REQUIRE(std::fabs(steps - std::rint(steps)) < 1e-5f);
      REQUIRE(std::lround(steps) % 2 != 0);
    }
    REQUIRE(db != dy);
  }
}

TEST_CASE("a layer computes the same on integers as on floats, backward too") {
  for (const auto& [weight_bits, input_bits] : std::map<int, int>{{1, 2}, {2, 1}, {3, 4}, {7, 8}}) {
    CAPTURE(weight_bits, input_bits);
    const std::string config = R"([{"op_types": ["Linear"], "quant_types": ["weight", "input"],
        "quant_bits": {"weight": )" +
                               std::to_string(weight_bits) + R"(, "input": )" +
                               std::to_string(input_bits) + "}}]";
    Floats y[2], dx[2], dw[2];
    float unit = 0;
    for (const bool integer : {true, false}) {
      Context c;
      auto net = make<Sequential>(c);
      auto fc = make<Linear>(c, 40, 9);
      net->append("fc", fc);
      fc->weight.mutable_value() = Tensor::from(c, Shape{9, 40}, inputs(360, -1.2, 0.9, 3));
      fc->bias.mutable_value() = vector_of(c, inputs(9, -1, 1, 5));
      QuantizerOptions options;
      options.integer = integer;
      DorefaQuantizer quantizer(*net, config, nullptr, Tensor::zeros(c, {1, 40}), options);
      quantizer.compress();
      REQUIRE(quantizer.chains().size() == (integer ? 1 : 0));
      const Variable x(Tensor::from(c, Shape{5, 40}, inputs(200, -0.3, 1.3, 7)), true);
      Variable out = (*net)(x);
      y[integer] = out.value().to_vector<float>();
      out.backward(Tensor::from(c, Shape{5, 9}, inputs(45, -1, 1, 11)));
      dx[integer] = x.grad().to_vector<float>();
      dw[integer] = fc->weight.grad().to_vector<float>();
      const float s_w = quantizer.points()[0].quantizer->grids(2).list[0].scale;
      unit = s_w / static_cast<float>((1 << input_bits) - 1) /
             static_cast<float>(1 << (7 - weight_bits));
    }
    // Biases are whole steps of the accumulator; the rest is float rounding of sums of 40.
    for (size_t i = 0; i < y[0].size(); ++i)
      REQUIRE(std::fabs(y[0][i] - y[1][i]) <= 0.5f * unit + 1e-5f);
    for (size_t i = 0; i < dx[0].size(); ++i) REQUIRE(std::fabs(dx[0][i] - dx[1][i]) < 1e-5f);
    for (size_t i = 0; i < dw[0].size(); ++i) REQUIRE(std::fabs(dw[0][i] - dw[1][i]) < 1e-5f);
  }
}

TEST_CASE("one bit of weights that are all 0: finite gradients in training and in evaluation") {
  for (const bool training : {true, false}) {
    Context c;
    auto net = make<Sequential>(c);
    auto fc = make<Linear>(c, 6, 4);
    auto norm = make<BatchNorm>(c, 4, 1);
    net->append("fc", fc).append("bn", norm);
    fc->weight.mutable_value().fill(0.0f);
    DorefaQuantizer quantizer(*net, R"([{"quant_types": ["weight", "input"],
        "quant_bits": {"weight": 1, "input": 2}, "op_types": ["Linear"]}])",
                              nullptr, Tensor::zeros(c, {1, 6}));
    quantizer.compress();
    REQUIRE(quantizer.chains().size() == 1);
    net->train(training);
    const Variable x(Tensor::from(c, Shape{5, 6}, inputs(30, -0.3, 1.3, 7)), true);
    Variable y = (*net)(x);
    y.backward(Tensor::from(c, Shape{5, 4}, inputs(20, -1, 1, 11)));
    for (const Variable& v : {x, fc->weight, fc->bias, norm->weight, norm->bias}) {
      for (const float g : v.grad().to_vector<float>()) REQUIRE(std::isfinite(g));
    }
  }
}

TEST_CASE("8-bit weights train on the float path, with a warning that says why") {
  DigitsRun run("DoReFaQuantizer", R"([{"quant_types": ["weight", "input"], "quant_bits": 8,
      "op_names": ["fc1"]}])");
  REQUIRE(run.quantizer->chains().empty());
  REQUIRE(run.quantizer->warnings().size() == 1);
  REQUIRE_THAT(run.quantizer->warnings()[0], Contains("fc1") && Contains("need 9 bits"));
}

TEST_CASE("what DoReFa does not have is refused by name") {
  const auto compress = [](const std::string& config) {
    const Context c;
    Model model = make_model("lenet5", c);
    DorefaQuantizer(*model.module, config).compress();
  };
  const std::string head = R"([{"op_types": ["Conv2d"], "quant_types": ["weight"], )";
  REQUIRE_NOTHROW(compress(head + R"("quant_bits": 1}])"));
  REQUIRE_THROWS_WITH(compress(head + R"("quant_bits": 17}])"), Contains("from 1 to 16"));
  REQUIRE_THROWS_WITH(compress(head + R"("quant_bits": 0}])"), Contains("from 1 to 16"));
  REQUIRE_THROWS_WITH(compress(head + R"("quant_bits": 2, "quant_scheme": "per_tensor_affine"}])"),
                      Contains("quant_scheme"));
  REQUIRE_THROWS_WITH(compress(R"([{"op_types": ["Conv2d"], "quant_types": ["bias"],
                                   "quant_bits": 2}])"),
                      Contains("weight, input, output, gradient"));
  REQUIRE_THROWS_WITH(compress(R"([{"op_types": ["ReLU"], "quant_types": ["gradient"],
                                   "quant_bits": 2}])"),
                      Contains("Conv2d or Linear"));
  const Context c;
  Model model = make_model("lenet5", c);
  DorefaQuantizer q(*model.module, "[]");
  REQUIRE_THROWS_WITH(q.set_quant_scheme_dtype("weight", "per_tensor_affine", "int"),
                      Contains("DoReFaQuantizer"));
}

TEST_CASE("ranges are fixed: the same ones load, others are refused") {
  const Context c;
  const auto q = activations(c, 3);
  REQUIRE((q->ranges()[0].low == 0.0f && q->ranges()[0].high == 1.0f));
  REQUIRE_NOTHROW(q->set_ranges({{0.0f, 1.0f}}));
  REQUIRE_THROWS_WITH(q->set_ranges({{0.0f, 2.0f}}), Contains("0 .. 1") && Contains("0 .. 2"));
}

TEST_CASE("a layer shared by two paths is quantized at both") {
  const Context c;
  auto shared = make<Linear>(c, 4, 4);
  auto net = make<Sequential>(c);
  net->append("a", shared).append("relu", make_relu(c)).append("b", shared);
  DorefaQuantizer quantizer(*net, R"([{"quant_types": ["weight", "input", "gradient"],
      "quant_bits": 2, "op_types": ["Linear"]}])",
                            nullptr, Tensor::zeros(c, {1, 4}));
  quantizer.compress();
  REQUIRE(quantizer.points().size() == 3);
  Variable y = (*net)(Variable(Tensor::from(c, Shape{1, 4}, inputs(4, 0, 1, 1))));
  y.backward(Tensor::full(c, {1, 4}, 1.0f));
  REQUIRE(shared->weight.grad().defined());
  REQUIRE(c.random().next >= 2);  // noise for each use
}

// N after the first step: NNI's gradient skips tanh and max. PyTorch's autograd of the paper's
// formula gives the next losses.
TEST_CASE("loss trace of two-bit weights: NNI's first loss, then the chain rule's (case G25)") {
  QuantizerOptions options;
  options.integer = false;
  GoldenNet net("DoReFaQuantizer", R"([{"quant_types": ["weight"], "quant_bits": 2,
      "op_types": ["Conv2d", "Linear"]}])",
                options);
  // Losses agree to 1e-3 as long as no code falls to the other side of a tie.
  REQUIRE(net.step(0) == Approx(4.903320789337158).epsilon(1e-3));
  REQUIRE(net.step(1) == Approx(2.011704206466675).epsilon(1e-3));  // NNI: 5.0708
  REQUIRE(net.step(2) == Approx(4.3614397048950195).epsilon(1e-3));
}

TEST_CASE("LeNet-5 learns digits with 1-bit weights, 2-bit activations, 4-bit gradients") {
  DigitsRun run("DoReFaQuantizer", R"([{"quant_types": ["weight", "input", "gradient"],
      "quant_bits": {"weight": 1, "input": 2, "gradient": 4}, "op_names": ["conv2", "fc1", "fc2"]}])");
  const float first = run.epoch();
  for (int k = 0; k < 3; ++k) run.epoch();
  REQUIRE(run.epoch() < 0.5f * first);
}
