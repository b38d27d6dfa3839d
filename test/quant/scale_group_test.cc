// Edges that share one scale: sums, concatenations.
#include <catch2/catch.hpp>
#include <cmath>

#include "quant/range_quantize.h"
#include "test/quant/block_net.h"

using namespace halftone;
using namespace halftone::test;

TEST_CASE("the shared scale holds every member's range, and moves between forwards only") {
  BlockRun run(with(outputs("Add")));
  run.step(0);
  for (int k = 1; k < 5; ++k) {
    float wanted = 0;
    // The members' ranges before the step, the first one's after it.
    std::map<std::string, kernels::Range> before;
    for (const QuantPoint& p : run.q->points())
      before[p.quantizer->path()] = p.quantizer->ranges()[0];
    run.step(k);
    for (const std::string name : {"relu0", "bn2", "relu2"}) {
      auto& member =
          dynamic_cast<RangeQuantize&>(*run.net->find(name + ".activation_post_process"));
      const kernels::Range r =
          name == "relu0" ? member.ranges()[0] : before[name + ".activation_post_process"];
      const float need = name == "bn2" ? std::max(-r.low, r.high) / 127.5f : r.high / 255.0f;
      wanted = std::max(wanted, need);
    }
    for (const std::string name : {"relu0", "bn2", "relu2"}) {
      auto& member =
          dynamic_cast<RangeQuantize&>(*run.net->find(name + ".activation_post_process"));
      REQUIRE(member.params().scale == wanted);
    }
  }
}

TEST_CASE("the quantizer of the shortcut gives its edge a scale of its own behind it") {
  const std::string trunk_too =
      R"({"quant_types": ["output"], "quant_bits": 8, "op_names": ["relu0"]})";
  BlockRun run(with(outputs("Add") + ", " + outputs("SubsamplePad") + ", " + trunk_too), true);
  REQUIRE(run.q->warnings().empty());
  REQUIRE(run.path_of("shortcut", QuantType::kOutput) == "shortcut.activation_post_process");
  for (int k = 0; k < 5; ++k) run.step(k);
  run.evaluate();
  const Codes &trunk = codes_of(run.net->trunk), &skip = codes_of(run.net->skip),
              &y = codes_of(run.net->sum);
  REQUIRE(trunk.params.scale != skip.params.scale);
  REQUIRE(skip.params.scale == y.params.scale);
  for (int64_t n = 0; n < 3; ++n)
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t j = 0; j < 3; ++j)
        for (int64_t k = 0; k < 6; ++k) {
          const int code = skip.values.data<uint8_t>()[((n * 3 + i) * 3 + j) * 6 + k];
          if (k == 0 || k == 5) {
            REQUIRE(code == 0);
            continue;
          }
          // A table of the trunk's codes.
          const float v = trunk.params.scale *
                          trunk.values.data<uint8_t>()[((n * 6 + 2 * i) * 6 + 2 * j) * 4 + k - 1];
          REQUIRE(code == clamp64(nearest_even(v / skip.params.scale), 0, 255));
        }
}

namespace {

struct Fork : Module {  // conv3(concat(relu(conv1(x)), conv2(x) or relu(conv2(x))))
  Fork(const Context& c, bool both) : Module(c) {
    conv1 = &register_child("conv1", make<Conv2d>(c, Conv2dArgs{2, 3, 3, 1, 1}));
    relu1 = &register_child("relu1", make_relu(c));
    conv2 = &register_child("conv2", make<Conv2d>(c, Conv2dArgs{2, 4, 3, 1, 1}));
    relu2 = &register_child("relu2", both ? make_relu(c) : nullptr);
    concat = &register_child("concat", make<Concat>(c));
    conv3 = &register_child("conv3", make<Conv2d>(c, Conv2dArgs{7, 2, 1}));
  }
  std::string type_name() const override { return "Fork"; }
  Variable forward(const std::vector<Variable>& in) override {
    a = (*relu1)((*conv1)(in.at(0)));
    b = (*relu2)((*conv2)(in.at(0)));
    joined = (*concat->get())({a, b});
    return (*conv3)(joined);
  }
  Slot *conv1, *relu1, *conv2, *relu2, *concat, *conv3;
  Variable a, b, joined;
};

}  // namespace

TEST_CASE("a concatenation: one grid for its inputs, codes joined as they are") {
  for (const bool both : {true, false}) {
    CAPTURE(both);
    const Context c(two_threads());
    auto net = make<Fork>(c, both);
    auto q = make_quantizer("QAT_Quantizer", *net, with(outputs("Concat")), nullptr,
                            Tensor::zeros(c, {1, 4, 4, 2}));
    q->compress();
    REQUIRE(q->warnings().empty());
    REQUIRE(q->integer_obstacle("conv3").empty());
    for (int k = 0; k < 3; ++k) {
      Variable y = (*net)(Variable(spread(c, {2, 4, 4, 2}, -1, 1 + 0.2f * k, 7 + k)));
      y.backward(spread(c, y.shape(), -1, 1, 3));
      q->advance_step();
    }
    for (const bool train : {true, false}) {
      net->train(train);
      (*net)(Variable(spread(c, {2, 4, 4, 2}, -1, 1.1f, 9)));
      const Codes &a = codes_of(net->a), &b = codes_of(net->b), &y = codes_of(net->joined);
      REQUIRE(a.params == b.params);
      REQUIRE(a.params == y.params);
      REQUIRE(a.params.zero_point == (both ? 0 : 128));
      for (int64_t i = 0; i < y.values.numel(); ++i) {
        const int64_t row = i / 7, k = i % 7;
        REQUIRE(y.values.data<uint8_t>()[i] == (k < 3 ? a.values.data<uint8_t>()[row * 3 + k]
                                                      : b.values.data<uint8_t>()[row * 4 + k - 3]));
      }
    }
  }
}

TEST_CASE("who gives up a quantizer for a shared scale must agree on start and range") {
  struct Row {
    std::string inputs, sums, key;
  };
  const auto layers = [](const std::string& more) {
    std::string text = kLayers;
    return text.insert(1, more);
  };
  const auto sums = [](const std::string& more) { return outputs("Add").insert(1, more); };
  for (const Row& row : {Row{R"("quant_start_step": 5, )", "", "quant_start_step"},
                         Row{"", R"("quant_start_step": 5, )", "quant_start_step"},
                         Row{R"("observer": {"input": "min_max"}, )", "", "observer"},
                         Row{R"("ema_decay": 0.5, )", R"("ema_decay": 0.9, )", "ema_decay"}}) {
    CAPTURE(row.inputs, row.sums);
    REQUIRE_THROWS_WITH(BlockRun("[" + layers(row.inputs) + ", " + sums(row.sums) + "]"),
                        Catch::Contains("config_list entry 2, " + row.key +
                                        " of add (output) and of config_list entry 1, conv") &&
                            Catch::Contains("(input)") && Catch::Contains("one " + row.key) &&
                            Catch::Contains("give both the same " + row.key));
  }
  // The same of both, and what means the same.
  BlockRun same("[" + layers(R"("quant_start_step": 5, "ema_decay": 0.5, )") + ", " +
                sums(R"("quant_start_step": 5, "ema_decay": 0.5, )") + "]");
  REQUIRE(same.q->warnings().empty());
  REQUIRE(same.q->sums().size() == 1);
  REQUIRE(BlockRun("[" + layers(R"("quant_start_step": 1, )") + ", " + outputs("Add") + "]")
              .q->warnings()
              .empty());
}

TEST_CASE("a type or scheme that a shared scale does not keep is said once") {
  std::string layers = kLayers;
  layers = layers.replace(layers.find("\"input\": \"uint\""), 15, "\"input\": \"int\"");
  const BlockRun run("[" + layers + ", " + outputs("Add") + "]");
  REQUIRE(run.q->warnings().size() == 1);
  REQUIRE_THAT(run.q->warnings()[0], Catch::Contains("scale of add") &&
                                         Catch::Contains("conv1 (input, int8") &&
                                         Catch::Contains("conv3 (input, int8"));
}
