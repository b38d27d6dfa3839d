// Residual sums on codes.
#include <catch2/catch.hpp>
#include <cmath>

#include "quant/range_quantize.h"
#include "test/quant/block_net.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;

TEST_CASE("a residual sum: branch z = 128, trunk and output z = 0, one scale, codes that add") {
  for (const bool wide : {false, true}) {
    CAPTURE(wide);
    BlockRun run(with(outputs("Add")), wide);
    REQUIRE(run.q->warnings().empty());
    REQUIRE(run.q->sums().size() == 1);
    for (const char* name : {"conv0", "conv1", "conv2", "conv3", "add"})
      REQUIRE(run.q->integer_obstacle(name).empty());
    REQUIRE(run.path_of("add", QuantType::kOutput) == "relu2.activation_post_process");
    REQUIRE(run.path_of("conv1", QuantType::kInput) == "relu0.activation_post_process");
    REQUIRE(run.path_of("conv2", QuantType::kInput) == "relu1.activation_post_process");
    REQUIRE(run.path_of("conv3", QuantType::kInput) == "relu2.activation_post_process");
    REQUIRE(run.path_of("bn2", QuantType::kOutput) == "bn2.activation_post_process");
    for (int k = 0; k < 6; ++k) {
      run.step(k);
      if (k == 0) continue;  // the first forward finds the ranges
      for (const bool train : {true, false}) {
        if (!train) run.evaluate();
        const Codes &a = codes_of(run.net->branch), &b = codes_of(run.net->skip),
                    &y = codes_of(run.net->sum);
        REQUIRE(codes_of(run.net->trunk).params.zero_point == 0);
        check_sum_of_codes(a, b, y);
        int64_t positive = 0;
        for (int64_t i = 0; i < y.values.numel(); ++i) positive += y.values.data<uint8_t>()[i] > 0;
        REQUIRE(positive > y.values.numel() / 4);
        if (!wide) continue;
        for (int64_t i = 0; i < b.values.numel(); i += 6) {  // option A's channels of zeros
          REQUIRE(b.values.data<uint8_t>()[i] == 0);
          REQUIRE(b.values.data<uint8_t>()[i + 5] == 0);
        }
      }
    }
  }
}

TEST_CASE("the float form of the sum gives the same codes") {
  BlockRun integer(with(outputs("Add"))), simulated(with(outputs("Add")), false, false);
  for (int k = 0; k < 4; ++k) {
    // Dequantized operands of the convolutions round differently: few codes differ, by one.
    REQUIRE(integer.step(k) == Approx(simulated.step(k)).epsilon(0.02));
  }
  for (const std::string name : {"relu0", "bn2", "relu2"}) {
    const std::string path = name + ".activation_post_process";
    auto& theirs = dynamic_cast<RangeQuantize&>(*integer.net->find(path));
    theirs.set_ranges(theirs.ranges());
    dynamic_cast<RangeQuantize&>(*simulated.net->find(path)).set_ranges(theirs.ranges());
  }
  integer.evaluate();
  // From the same operands: exactly.
  const Codes& y = codes_of(integer.net->sum);
  NoGrad no_grad;
  const Variable a(integer.net->branch.value()), b(integer.net->skip.value());
  simulated.net->eval();
  const Variable s = simulated.net->at("relu2")((*simulated.net->at("add").get())({a, b}));
  for (int64_t i = 0; i < y.values.numel(); ++i) {
    REQUIRE(s.value().data<float>()[i] ==
            y.params.scale * static_cast<float>(y.values.data<uint8_t>()[i]));
  }
}

TEST_CASE("the gradient of a sum passes inside activation and codes, untouched, to both inputs") {
  BlockRun run(with(outputs("Add")));
  for (int k = 0; k < 3; ++k) run.step(k);
  run.net->eval();
  (*run.net)(Variable(run.batch(1)));
  const Codes y = codes_of(run.net->sum);
  const std::vector<uint8_t> qa = {100, 128, 129, 255, 255, 255, 0, 200},
                             qb = {28, 0, 0, 127, 128, 129, 255, 10};
  const auto input = [&](const std::vector<uint8_t>& q, int zero) {
    QuantParams p = y.params;
    p.zero_point = zero;
    return Codes{Tensor::from(run.c, Shape{1, 1, 2, 4}, q), p};
  };
  const Variable a(spread(run.c, {1, 1, 2, 4}, -1, 1), true),
      b(spread(run.c, {1, 1, 2, 4}, -1, 1), true);
  Variable s = run.net->at("relu2")(
      (*run.net->at("add").get())({as_codes(a, input(qa, 128)), as_codes(b, input(qb, 0))}));
  REQUIRE(codes_of(s).values.to_vector<uint8_t>() ==
          std::vector<uint8_t>{0, 0, 1, 254, 255, 255, 127, 82});
  const Tensor up = Tensor::from<float>(run.c, {1, 1, 2, 4}, {1, 2, 3, 4, 5, 6, 7, 8});
  s.backward(up);
  // ReLU's derivative at 0 is 0; 256 is past the last code.
  const std::vector<float> want = {0, 0, 3, 4, 5, 0, 7, 8};
  REQUIRE(a.grad().to_vector<float>() == want);
  REQUIRE(b.grad().to_vector<float>() == want);
  REQUIRE(up.to_vector<float>() == std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8});
}

TEST_CASE("sums: warm-up is float, training learns, a resumed run has the same bits") {
  for (const bool integer : {true, false}) {
    CAPTURE(integer);
    BlockRun plain(""), run(with(outputs("Add")), false, integer, 4);
    for (int k = 0; k < 3; ++k) REQUIRE(plain.step(k) == run.step(k));
    REQUIRE(plain.evaluate() != run.evaluate());  // the ranges are known: what would deploy
    BlockRun again(with(outputs("Add")), false, integer, 4);
    again.net->load_state_dict(run.net->state_dict());
    again.optimizer->load_state_dict(run.optimizer->state_dict());
    for (int k = 3; k < 8; ++k) REQUIRE(run.step(k) == again.step(k));
    REQUIRE(run.evaluate() == again.evaluate());
    const float before = run.step(0);
    float after = 0;
    for (int k = 0; k < 60; ++k) after = run.step(0);
    REQUIRE(after < 0.8f * before);
  }
}

TEST_CASE("sums: evaluation before training is float; calibration files bring the shared scale") {
  BlockRun fresh(with(outputs("Add")));
  REQUIRE(fresh.evaluate() == BlockRun("").evaluate());
  BlockRun trained(with(outputs("Add")));
  for (int k = 0; k < 3; ++k) trained.step(k);
  const TempFolder folder;
  trained.q->export_model(folder / "m.safetensors", folder / "c.json");
  fresh.q->load_calibration_config(folder / "c.json");
  for (const std::string name : {"relu0", "bn2", "relu2"}) {
    auto& member =
        dynamic_cast<RangeQuantize&>(*fresh.net->find(name + ".activation_post_process"));
    REQUIRE(member.initialised());
    auto& theirs =
        dynamic_cast<RangeQuantize&>(*trained.net->find(name + ".activation_post_process"));
    REQUIRE(member.ranges()[0].high == theirs.ranges()[0].high);
  }
  fresh.evaluate();
  REQUIRE(codes_of(fresh.net->sum).params.scale == codes_of(fresh.net->branch).params.scale);
}

TEST_CASE("a convolution with fewer input bits has a table before it; the trunk keeps 8") {
  std::string config = with(outputs("Add"));
  config.replace(config.find("\"quant_bits\": 8"), 15,
                 "\"quant_bits\": {\"weight\": 8, \"input\": 4}");
  BlockRun run(config);
  REQUIRE(run.path_of("conv1", QuantType::kInput) == "conv1.input_fake_quant");
  REQUIRE(run.q->integer_obstacle("conv1").empty());
  for (int k = 0; k < 3; ++k) run.step(k);
  run.evaluate();
  REQUIRE(codes_of(run.net->trunk).params.qmax == 255);
}

TEST_CASE("where a sum has no integer form it says why, and trains on the float path") {
  struct Row {
    std::string config, why;
  };
  std::string per_channel = outputs("Add");
  per_channel.insert(1, R"("quant_scheme": "per_channel_affine", )");
  std::string mixed = outputs("Add") + ", " + outputs("BatchNorm2d", 4);
  for (const Row& row :
       {Row{with(per_channel), "per-channel activations"},
        Row{with(outputs("Add", 12)), "more than 8 bits"}, Row{with(mixed), "different bits"}}) {
    CAPTURE(row.why);
    BlockRun run(row.config);
    REQUIRE_THAT(run.q->integer_obstacle("add"), Catch::Contains(row.why));
    std::string warned;
    for (const std::string& w : run.q->warnings()) warned += w + "\n";
    REQUIRE_THAT(warned, Catch::Contains("add runs on the float path") && Catch::Contains(row.why));
    REQUIRE(run.q->sums().empty());
    for (int k = 0; k < 3; ++k) REQUIRE(std::isfinite(run.step(k)));
    REQUIRE(run.evaluate() != BlockRun("").evaluate());
  }
  const Context c(two_threads());
  auto net = make<Block>(c, false);
  auto dorefa = make_quantizer("DoReFaQuantizer", *net, "[" + outputs("Add", 4) + "]", nullptr,
                               Tensor::zeros(c, {1, 6, 6, 2}));
  dorefa->compress();
  REQUIRE_THAT(dorefa->integer_obstacle("add"), Catch::Contains("DoReFaQuantizer"));
}
namespace {

struct Direct : Module {  // conv(x) + x
  explicit Direct(const Context& c) : Module(c) {
    conv = &register_child("conv", make<Conv2d>(c, Conv2dArgs{2, 2, 3, 1, 1}));
    add = &register_child("add", make<Add>(c));
  }
  std::string type_name() const override { return "Direct"; }
  Variable forward(const std::vector<Variable>& in) override {
    return (*add->get())({(*conv)(in.at(0)), in.at(0)});
  }
  Slot *conv, *add;
};

}  // namespace

TEST_CASE("the network's input cannot be added as codes: it says so") {
  const Context c(two_threads());
  auto net = make<Direct>(c);
  auto q = make_quantizer("QAT_Quantizer", *net, with(outputs("Add")), nullptr,
                          Tensor::zeros(c, {1, 4, 4, 2}));
  q->compress();
  REQUIRE_THAT(q->integer_obstacle("add"), Catch::Contains("network's input"));
  const Variable x(spread(c, {2, 4, 4, 2}, -1, 1));
  Variable y = (*net)(x);
  REQUIRE(y.codes() != nullptr);  // the sum of floats, quantized
}
