// Where quantizers stand, whatever the path that a layer takes.
#include <catch2/catch.hpp>

#include "nn/zoo/mobilenet_v2.h"
#include "test/quant/block_net.h"
#include "test/quant/lenet_run.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

namespace {

// Every type of every Conv2d; symmetric weights, so on integers.
std::string all_of_conv(int bits = 8, const std::string& more = "") {
  return R"({"quant_types": ["weight", "input", "output"], "quant_bits": {"weight": 8, "input": 8,
    "output": )" +
         std::to_string(bits) + R"(}, "op_types": ["Conv2d"], "quant_dtype": {"weight": "int"},
    "quant_scheme": {"weight": "per_channel_symmetric"})" +
         more + "}";
}

std::string list_of(const std::string& a, const std::string& b = "") {
  return "[" + a + (b.empty() ? "" : ", " + b) + "]";
}

std::vector<std::string> output_places(BlockRun& run) {
  std::vector<std::string> places;
  for (const auto& [name, tensor] : run.net->state_dict()) {
    const std::string end = ".activation_post_process.spec";
    if (name.size() > end.size() && name.substr(name.size() - end.size()) == end)
      places.push_back(name.substr(0, name.size() - end.size()));
  }
  return places;
}

int64_t batches_of(BlockRun& run, const std::string& norm) {
  return dynamic_cast<BatchNorm&>(*run.net->at(norm).get()).num_batches_tracked->item<int64_t>();
}

}  // namespace

TEST_CASE("outputs named on convolutions before a quantized sum: batch norm runs once") {
  BlockRun run(list_of(all_of_conv(), outputs("Add")));
  for (int k = 0; k < 4; ++k) run.step(k);
  REQUIRE(batches_of(run, "bn1") == 4);
  REQUIRE(batches_of(run, "bn2") == 4);
  REQUIRE(output_places(run) ==
          std::vector<std::string>{"bn2", "conv3", "relu0", "relu1", "relu2"});
  REQUIRE(run.path_of("conv2", QuantType::kOutput) == "bn2.activation_post_process");
  // Without the names the sum quantizes the same edges, and everything is the same.
  BlockRun plain(with(outputs("Add") + R"(, {"quant_types": ["weight", "input", "output"],
      "quant_bits": 8, "op_names": ["conv3"], "quant_dtype": {"weight": "int"},
      "quant_scheme": {"weight": "per_channel_symmetric"}})"));
  for (int k = 0; k < 4; ++k) plain.step(k);
  REQUIRE(run.evaluate() == plain.evaluate());
}

TEST_CASE("a named output counts among the edges of its sum") {
  BlockRun narrow(list_of(all_of_conv(4), outputs("Add")));
  std::string warned;
  for (const std::string& w : narrow.q->warnings()) warned += w + "\n";
  REQUIRE_THAT(warned, Contains("add") && Contains("edges of one scale have different bits"));
  REQUIRE_THROWS_WITH(
      BlockRun(list_of(all_of_conv(8, R"(, "quant_start_step": 5)"), outputs("Add"))),
      Contains("conv0 (output)") && Contains("one quant_start_step"));
}

TEST_CASE("a layer's output is quantized behind its activation on every path, and said to be") {
  const std::string affine =
      R"({"quant_types": ["weight", "output"], "quant_bits": 8, "op_types": ["Conv2d"]})";
  struct Row {
    std::string config;
    bool integer;
  };
  for (const Row& row : {Row{all_of_conv(), true}, Row{all_of_conv(), false}, Row{affine, true},
                         Row{all_of_conv(8, R"(, "fold": "batch")"), false},
                         Row{all_of_conv(8, R"(, "fold": "nni")"), true}}) {
    CAPTURE(row.config, row.integer);
    BlockRun run(list_of(row.config), false, row.integer);
    REQUIRE(output_places(run) == std::vector<std::string>{"bn2", "conv3", "relu0", "relu1"});
    std::string warned;
    for (const std::string& w : run.q->warnings()) warned += w + "\n";
    REQUIRE_THAT(warned, Contains("conv1 (behind relu1)") && !Contains("conv3 (behind"));
    for (int k = 0; k < 3; ++k) run.step(k);
    REQUIRE(batches_of(run, "bn1") == 3);
  }
  // NNI: before the activation; what it folds normalises once.
  QuantizerOptions nni;
  nni.nni = true;
  Context c(two_threads());
  auto net = make<Block>(c, false);
  const auto q = make_quantizer("QAT_Quantizer", *net, list_of(affine), nullptr,
                                Tensor::zeros(c, {1, 6, 6, 2}), nni);
  q->compress();
  const auto norm = std::dynamic_pointer_cast<BatchNorm>(net->at("bn1").ptr());
  REQUIRE(norm->output_transform());
  REQUIRE(!net->at("relu1")->output_transform());
  for (int k = 0; k < 3; ++k) {
    (*net)(Variable(spread(c, {3, 6, 6, 2}, -1, 1, 7 + k)));
    q->advance_step();
  }
  REQUIRE(norm->num_batches_tracked->item<int64_t>() == 3);
}

TEST_CASE("a layer in floats with a named output: batch norm and activation follow it") {
  BlockRun run(
      R"([{"quant_types": ["weight", "output"], "quant_bits": {"weight": 16, "output": 8},
           "op_types": ["Conv2d"]}])");
  const auto found = run.q->float_layers();
  REQUIRE((found.count("conv1") == 1 && found.count("add") == 1));
  REQUIRE(found.count("bn1") + found.count("bn2") + found.count("relu1") == 0);
}

TEST_CASE("the output of a container is refused, with the layer that makes it") {
  const Context c;
  auto net = make<Sequential>(c);
  net->append("a", make<InvertedResidual>(c, InvertedResidualArgs{4, 4, 1, 3}));
  const auto quantize = [&](const Tensor& dummy) {
    return make_quantizer("QAT_Quantizer", *net, R"([{"quant_types": ["output"], "quant_bits": 4,
        "op_names": ["a"]}])",
                          nullptr, dummy)
        ->compress();
  };
  REQUIRE_THROWS_WITH(quantize(Tensor::zeros(c, {1, 4, 4, 4})),
                      Contains("a, a InvertedResidual") && Contains("output of a.add"));
  REQUIRE_THROWS_WITH(quantize(Tensor()), Contains("a, a InvertedResidual") && Contains("entry 1"));
}

TEST_CASE("a quantized max pooling: its codes are made where its values are") {
  Context c(two_threads());
  auto net = make<Sequential>(c);
  net->append("conv1", make<Conv2d>(c, Conv2dArgs{2, 4, 3, 1, 1}));
  net->append("relu1", make_relu(c)).append("pool1", make<MaxPool2d>(c, pool_options(2)));
  net->append("conv2", make<Conv2d>(c, Conv2dArgs{4, 3, 3}));
  const auto q = make_quantizer("QAT_Quantizer", *net, with(outputs("MaxPool2d", 4)), nullptr,
                                Tensor::zeros(c, {1, 8, 8, 2}));
  q->compress();
  REQUIRE(!net->find("pool1")->output_transform());
  auto& made = dynamic_cast<FakeQuantize&>(*net->find("relu1.activation_post_process"));
  auto& read = dynamic_cast<FakeQuantize&>(*net->find("conv2.input_fake_quant"));
  REQUIRE((made.spec().bits == 4 && read.spec().bits == 8));
  (*net)(Variable(spread(c, {3, 8, 8, 2}, -1, 1.5f)));
  REQUIRE(q->float_layers().empty());
  Variable x(spread(c, {3, 8, 8, 2}, -1, 1.5f, 5));
  net->eval();
  const NoGrad no_grad;
  for (const char* name : {"conv1", "relu1", "pool1"}) x = (*net->find(name))(x);
  REQUIRE(codes_of(x).params == made.params());
  REQUIRE(codes_of(x).params.qmax == 15);
}

TEST_CASE("readers of one value that differ: what reads reals is named") {
  BlockRun run(with(outputs("SubsamplePad", 4)), true);
  const auto found = run.q->float_layers();
  REQUIRE_THAT(found.at("shortcut"), Contains("no codes reach it"));
  // One reader of relu0 has 8 bits, the other has 4.
  REQUIRE(run.path_of("conv1", QuantType::kInput) == "conv1.input_fake_quant");
}

TEST_CASE("BNN: signs of what a ReLU leaves are warned of where the quantizer stands") {
  const LenetRun run("BNNQuantizer", R"([{"quant_types": ["weight", "output"], "quant_bits": 1,
      "op_types": ["Conv2d"]}])",
                     {}, true, {}, "plain");
  std::string warned;
  for (const std::string& w : run.quantizer->warnings()) warned += w + "\n";
  REQUIRE_THAT(warned, Contains("the output of conv1 is never negative") && Contains("Hardtanh"));
}

TEST_CASE("an activation that a pooling computes reads codes as what they stand for") {
  // A batch norm with a quantized output, then ReLU and max pooling.
  for (const std::string type : {"BatchNorm2d", "AvgPool2d"}) {
    std::vector<float> y[2], dx[2];
    for (const bool integer : {true, false}) {
      Context c(two_threads());
      auto net = make<Sequential>(c);
      net->append("bn", make<BatchNorm>(c, 2, 2));
      if (type == "AvgPool2d") net->append("avg", make<AvgPool2d>(c, pool_options(2)));
      net->append("relu", make_relu(c)).append("pool", make<MaxPool2d>(c, pool_options(2)));
      QuantizerOptions o;
      o.integer = integer;
      const auto q = make_quantizer("QAT_Quantizer", *net, list_of(outputs(type)), nullptr,
                                    Tensor::zeros(c, {1, 8, 8, 2}), o);
      q->compress();
      const Variable x(spread(c, {3, 8, 8, 2}, -1, 1), true);
      Variable out = (*net)(x);
      y[integer] = out.value().to_vector<float>();
      out.backward(spread(c, out.shape(), -1, 1, 3));
      dx[integer] = x.grad().to_vector<float>();
    }
    REQUIRE(y[0] == y[1]);
    REQUIRE(dx[0] == dx[1]);
  }
}
