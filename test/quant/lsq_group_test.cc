// Learned scales that edges share.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "nn/zoo/zoo.h"
#include "quant/lsq_quantize.h"
#include "test/quant/block_net.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;

namespace {

const char* const kW4A4 =
    R"({"quant_types": ["weight", "input"], "quant_bits": 4, "op_types": ["Conv2d"]}, )";
const std::vector<std::string> kMembers = {"relu0", "bn2", "relu2"};

std::string config() { return "[" + std::string(kW4A4) + outputs("Add") + "]"; }

BlockRun lsq_run(int64_t start_step = 0, bool integer = true,
                 const std::string& name = "LsqQuantizer") {
  return BlockRun(config(), false, integer, start_step, name);
}

LsqQuantize& member(BlockRun& run, const std::string& name) {
  return dynamic_cast<LsqQuantize&>(*run.net->find(name + ".activation_post_process"));
}

// 2 mean |v| / sqrt(qmax), section 2.1 of LSQ.
float first_scale(const std::vector<float>& v, int qmax) {
  double sum = 0;
  for (const float x : v) sum += std::fabs(static_cast<double>(x));
  return static_cast<float>(2 * sum / static_cast<double>(v.size()) / std::sqrt(qmax));
}

}  // namespace

TEST_CASE("LSQ, a residual sum: one learned scale under all names, codes that add") {
  for (const std::string name : {"LsqQuantizer", "LsqPlusQuantizer"}) {
    CAPTURE(name);
    BlockRun run = lsq_run(0, true, name);
    REQUIRE(run.q->sums().size() == 1);
    REQUIRE(run.q->float_layers().empty());
    const LsqQuantize& first = member(run, "relu0");
    for (const std::string& m : kMembers) {
      REQUIRE(member(run, m).scale.same(first.scale));
      REQUIRE(member(run, m).shares_scale());
      REQUIRE(!member(run, m).offset.defined());
    }
    const auto& entries = run.store->entries();
    REQUIRE(std::count_if(entries.begin(), entries.end(),
                          [&](const auto& e) { return e.variable.same(first.scale); }) == 1);
    const auto state = run.net->state_dict();
    for (const std::string& m : kMembers)
      REQUIRE(state.count(m + ".activation_post_process.scale") == 1);
    for (int k = 0; k < 5; ++k) {
      run.step(k);
      if (k == 0) continue;  // the first forward finds the scale
      for (const bool train : {true, false}) {
        if (!train) run.evaluate();
        const Codes &a = codes_of(run.net->branch), &b = codes_of(run.net->skip),
                    &y = codes_of(run.net->sum);
        check_sum_of_codes(a, b, y);
      }
    }
  }
}

TEST_CASE("LSQ, a shared scale starts as the largest that a member's values ask for") {
  BlockRun run = lsq_run();
  const Variable y = (*run.net)(Variable(run.batch(0)));
  // Trunk and branch went through as floats; the sum was the last to be seen.
  const auto a = run.net->branch.value().to_vector<float>();
  const auto b = run.net->trunk.value().to_vector<float>();
  std::vector<float> sum;
  for (size_t i = 0; i < a.size(); ++i) sum.push_back(std::max(a[i] + b[i], 0.0f));
  REQUIRE(run.net->branch.codes() == nullptr);
  const float want = std::max({first_scale(b, 255), first_scale(a, 127), first_scale(sum, 255)});
  // Means are sums in another order.
  REQUIRE(member(run, "bn2").scale.value().item<float>() == Approx(want).epsilon(1e-6));
  for (const std::string& m : kMembers) REQUIRE(member(run, m).initialised());
}

TEST_CASE("LSQ, the gradient of a shared scale: every member's closed form, summed") {
  BlockRun run = lsq_run();
  for (int k = 0; k < 3; ++k) run.step(k);
  run.net->eval();
  (*run.net)(Variable(run.batch(1)));
  const Codes y = codes_of(run.net->sum);
  const std::vector<uint8_t> qa = {100, 128, 129, 255, 255, 255, 0, 200},
                             qb = {28, 0, 0, 127, 128, 129, 255, 10};
  const auto input = [&](const std::vector<uint8_t>& q, int zero) {
    QuantParams p = y.params;
    p.zero_point = zero;
    return Variable(Codes{Tensor::from(run.c, Shape{1, 1, 2, 4}, q), p});
  };
  const Variable a(spread(run.c, {1, 1, 2, 4}, -1, 1), true);
  run.optimizer->zero_grad();
  Variable s = run.net->at("relu2")(
      (*run.net->at("add").get())({as_codes(a, *input(qa, 128).codes()), input(qb, 0)}));
  // t = 0, 0, 1, 254, 255, 256, 127, 82: bounds clip (equations 3 and 5), and give the bound.
  s.backward(Tensor::from<float>(run.c, {1, 1, 2, 4}, {1, 2, 3, 4, 5, 6, 7, 8}));
  REQUIRE(a.grad().to_vector<float>() == std::vector<float>{0, 0, 3, 4, 0, 0, 7, 8});
  const float want = static_cast<float>((5 + 6) * 255.0 / std::sqrt(8 * 255.0));
  REQUIRE(member(run, "relu2").scale.grad().item<float>() == want);

  // The whole step: what the three members get apart is what the parameter gets.
  run.net->train();
  run.optimizer->zero_grad();
  Variable out = (*run.net)(Variable(run.batch(2)));
  const auto grad_of = [&](const std::string& leave) {
    run.optimizer->zero_grad();
    const Variable common = member(run, "relu0").scale;
    std::vector<Variable> kept;
    for (const std::string& m : kMembers) {
      kept.push_back(member(run, m).scale);
      if (m != leave && !leave.empty())  // the same value, not the parameter
        member(run, m).scale = Variable(common.value().clone(), true);
    }
    Variable y = (*run.net)(Variable(run.batch(2)));
    y.backward(spread(run.c, y.shape(), -1, 1, 5));
    for (size_t i = 0; i < kMembers.size(); ++i) member(run, kMembers[i]).scale = kept[i];
    return static_cast<double>(common.grad().item<float>());
  };
  const double all = grad_of("");
  const double parts = grad_of("relu0") + grad_of("bn2") + grad_of("relu2");
  REQUIRE(all != 0);
  REQUIRE(all == Approx(parts).epsilon(1e-6));  // floats added in another order
}

TEST_CASE("LSQ, shared scales: warm-up is float, it learns, a resumed run has the same bits") {
  for (const bool integer : {true, false}) {
    CAPTURE(integer);
    BlockRun plain(""), run = lsq_run(4, integer);
    for (int k = 0; k < 3; ++k) REQUIRE(plain.step(k) == run.step(k));
    for (const std::string& m : kMembers) REQUIRE(member(run, m).initialised());
    BlockRun again = lsq_run(4, integer);
    again.net->load_state_dict(run.net->state_dict());
    again.optimizer->load_state_dict(run.optimizer->state_dict());
    for (int k = 3; k < 8; ++k) REQUIRE(run.step(k) == again.step(k));
    REQUIRE(run.evaluate() == again.evaluate());
    const float before = run.step(0), scale = member(run, "bn2").scale.value().item<float>();
    float after = 0;
    for (int k = 0; k < 60; ++k) after = run.step(0);
    REQUIRE(after < 0.8f * before);
    REQUIRE(member(run, "bn2").scale.value().item<float>() != scale);
  }
}

TEST_CASE("LSQ, shared scales in exports and calibration files") {
  const TempFolder folder;
  BlockRun trained = lsq_run();
  for (int k = 0; k < 4; ++k) trained.step(k);
  trained.q->export_model(folder / "m.safetensors", folder / "c.json");
  BlockRun loaded = lsq_run();
  loaded.q->load_model(folder / "m.safetensors");
  REQUIRE(loaded.evaluate() == trained.evaluate());
  BlockRun fresh = lsq_run();
  REQUIRE(!member(fresh, "bn2").initialised());
  fresh.q->load_calibration_config(folder / "c.json");
  // The file has ranges, one per member: the end of a range divided by its code, an ulp of the
  // scale.
  REQUIRE(member(fresh, "bn2").scale.value().item<float>() ==
          Approx(member(trained, "bn2").scale.value().item<float>()).epsilon(1e-6));
  for (const std::string& m : kMembers) REQUIRE(member(fresh, m).initialised());
}

TEST_CASE("LSQ, a branch of zeros asks for no scale, and does not hold the others up") {
  BlockRun run = lsq_run();
  auto& norm = dynamic_cast<BatchNorm&>(*run.net->find("bn2"));
  norm.weight.mutable_value().fill(0);
  norm.bias.mutable_value().fill(0);
  (*run.net)(Variable(run.batch(0)));
  for (const std::string& m : kMembers) REQUIRE(member(run, m).initialised());
  (*run.net)(Variable(run.batch(1)));
  for (const uint8_t code : codes_of(run.net->branch).values.to_vector<uint8_t>())
    REQUIRE(code == 128);
}

TEST_CASE("LSQ, sums of 4-bit codes; sums of layers that nobody else quantizes") {
  struct Row {
    std::string config;
    int bits;
    bool layers;  // are quantized too
  };
  for (const Row& row :
       {Row{"[" + std::string(kW4A4) + outputs("Add", 4) + "]", 4, true},
        Row{"[" + outputs("Add", 4) + "]", 4, false}, Row{"[" + outputs("Add") + "]", 8, false}}) {
    CAPTURE(row.config);
    BlockRun run(row.config, false, true, 0, "LsqQuantizer");
    REQUIRE(run.q->sums().size() == 1);
    REQUIRE(run.q->warnings().empty());
    // The layers compute on floats, and say so; their results are codes nevertheless.
    REQUIRE(run.q->float_layers().count("conv1") == (row.layers ? 0 : 1));
    for (int k = 0; k < 4; ++k) REQUIRE(std::isfinite(run.step(k)));
    run.evaluate();
    const Codes &a = codes_of(run.net->branch), &b = codes_of(run.net->skip),
                &y = codes_of(run.net->sum);
    const int last = (1 << row.bits) - 1, half = (last + 1) / 2;
    REQUIRE((a.params.qmin == 128 - half && a.params.qmax == 127 + half));  // stored 128 higher
    REQUIRE((b.params.qmin == 0 && b.params.qmax == last));
    int64_t clipped = 0;
    for (int64_t i = 0; i < y.values.numel(); ++i) {
      const int t = a.values.data<uint8_t>()[i] - 128 + b.values.data<uint8_t>()[i];
      REQUIRE(y.values.data<uint8_t>()[i] == std::min(std::max(t, 0), last));
      clipped += t < 0 || t > last;
    }
    REQUIRE(clipped > 0);
  }
}

TEST_CASE("LSQ W4A4 ResNet-20 with 8-bit sums: nothing is left to floats, and it learns") {
  const Context c(two_threads());
  Model model = make_model("resnet20", c);
  ParameterStore store(*model.module);
  OptimizerOptions options;
  options.lr = 1e-3;
  auto optimizer = make_optimizer(store, options);
  auto q = make_quantizer("LsqQuantizer", *model.module,
                          R"([{"quant_types": ["weight", "input"], "quant_bits": 4,
    "first_layer_bits": 8, "last_layer_bits": 8, "op_types": ["Conv2d", "Linear"]}, )" +
                              outputs("Add") + "]",
                          optimizer.get(), Tensor::zeros(c, model.batch_shape(1)));
  q->compress();
  REQUIRE(q->warnings().empty());
  REQUIRE(q->sums().size() == 9);
  const Tensor x = spread(c, model.batch_shape(4), -1, 1, 7);
  const Tensor labels = Tensor::from(c, Shape{4}, std::vector<int64_t>{0, 1, 2, 3});
  std::pair<float, float> losses;
  for (int k = 0; k < 10; ++k) {
    optimizer->zero_grad();
    Variable loss = cross_entropy((*model.module)(Variable(x)), labels);
    loss.backward();
    optimizer->step();
    (k == 0 ? losses.first : losses.second) = loss.value().item<float>();
  }
  REQUIRE(q->float_layers().empty());
  REQUIRE(losses.second < 0.6f * losses.first);
}
