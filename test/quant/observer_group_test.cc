// Calibrated scales that edges share.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "nn/zoo/zoo.h"
#include "quant/observer.h"
#include "quant/observer_quantize.h"
#include "quant/observer_quantizer.h"
#include "test/quant/block_net.h"
#include "test/quant/chain_net.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;

namespace {

std::string config(const std::string& observer) {
  const std::string key = R"("observer": ")" + observer + "\", ";
  return R"([{"quant_types": ["weight", "input"], "quant_bits": 8, "op_types": ["Conv2d"],
      "observer": {"input": ")" +
         observer + "\"}}, " + outputs("Add").insert(1, key) + "]";
}

struct Calibrated {
  explicit Calibrated(const std::string& observer, bool integer = true)
      : net(make<Block>(context, false)) {
    net->eval();
    QuantizerOptions options;
    options.integer = integer;
    q = std::make_unique<ObserverQuantizer>(*net, config(observer), nullptr, batch(0), options);
  }
  Tensor batch(int k) const { return spread(context, {3, 6, 6, 2}, -1, 1 + 0.1f * k, 7 + 2 * k); }
  std::vector<float> run(int k) {
    const NoGrad no_grad;
    return (*net)(Variable(batch(k))).value().to_vector<float>();
  }
  ObserverQuantize& member(const std::string& name) {
    return dynamic_cast<ObserverQuantize&>(*net->find(name + ".activation_post_process"));
  }
  Context context{two_threads()};
  std::shared_ptr<Block> net;
  std::unique_ptr<ObserverQuantizer> q;
};

const std::vector<std::string> kMembers = {"relu0", "bn2", "relu2"};

}  // namespace

TEST_CASE("Observer, a residual sum: every observer's scale is shared, sums add codes") {
  for (const ObserverEntry& observer : observers()) {
    CAPTURE(observer.name);
    Calibrated c(observer.name);
    REQUIRE(c.q->sums().size() == 1);
    REQUIRE(c.q->warnings().empty());
    const auto real = c.run(3);
    for (int k = 0; k < 3; ++k) c.run(k);
    REQUIRE(c.net->sum.codes() == nullptr);  // it still records
    for (const std::string& m : kMembers) REQUIRE(!c.member(m).initialised());
    c.q->compress();
    REQUIRE(c.q->float_layers().empty());
    float wanted = 0;
    for (const std::string& m : kMembers) {
      const kernels::Range r = c.member(m).ranges()[0];
      REQUIRE((m == "bn2" ? r.low < 0 : r.low >= 0));
      wanted = std::max(wanted, m == "bn2" ? std::max(-r.low, r.high) / 127.5f : r.high / 255.0f);
    }
    for (const std::string& m : kMembers) REQUIRE(c.member(m).params().scale == wanted);
    const auto y = c.run(3);
    const Codes &a = codes_of(c.net->branch), &b = codes_of(c.net->skip),
                &sum = codes_of(c.net->sum);
    REQUIRE((a.params.zero_point == 128 && b.params.zero_point == 0));
    for (int64_t i = 0; i < sum.values.numel(); ++i) {
      const int qa = a.values.data<uint8_t>()[i], qb = b.values.data<uint8_t>()[i];
      REQUIRE(sum.values.data<uint8_t>()[i] == std::min(std::max(qa + qb - 128, 0), 255));
    }
    REQUIRE(y != real);
    // Eight bits: near the float network. Three steps of the largest scale, through one layer.
    for (size_t i = 0; i < y.size(); ++i) REQUIRE(y[i] == Approx(real[i]).margin(0.1));
  }
}

TEST_CASE("Observer, shared scales: files, and a copy stopped amid the calibration") {
  const TempFolder folder;
  Calibrated a("histogram");
  a.run(0);
  Calibrated b("histogram");
  b.net->load_state_dict(a.net->state_dict());
  for (Calibrated* c : {&a, &b}) {
    c->run(1);
    c->q->compress();
  }
  const auto want = a.run(5);
  REQUIRE(b.run(5) == want);
  a.q->export_model(folder / "m.safetensors", folder / "c.json");
  Calibrated loaded("histogram");
  loaded.q->load_model(folder / "m.safetensors");
  loaded.q->compress();
  REQUIRE(loaded.run(5) == want);
}

TEST_CASE("Observer, shared scales: a copy stopped when one member's range is known already") {
  for (const ObserverEntry& observer : observers()) {
    CAPTURE(observer.name);
    Calibrated a(observer.name), b(observer.name);
    a.run(2);
    a.member("relu0").set_ranges({{0.0f, 3.0f}});
    a.run(0);
    b.net->load_state_dict(a.net->state_dict());
    for (Calibrated* c : {&a, &b}) {
      c->run(1);
      c->q->compress();
      REQUIRE(c->member("relu0").ranges()[0].high == 3.0f);
    }
    REQUIRE(a.run(5) == b.run(5));
  }
}

TEST_CASE("Observer, a weight without a range is refused before another has one") {
  Calibrated c("min_max");
  c.run(0);
  auto& conv = dynamic_cast<Conv2d&>(*c.net->find("conv3"));
  float* weight = conv.weight.mutable_value().data<float>();
  const float before = std::exchange(weight[0], NAN);
  REQUIRE_THROWS_WITH(c.q->compress(), Catch::Contains("conv3") && Catch::Contains("NaN"));
  for (const QuantPoint& point : c.q->points()) REQUIRE_FALSE(point.quantizer->initialised());
  weight[0] = before;
  c.q->compress();
  for (const QuantPoint& point : c.q->points()) REQUIRE(point.quantizer->initialised());
}

TEST_CASE("Observer, its calibration starts QAT and LSQ, shared scales too") {
  const TempFolder folder;
  Calibrated a("histogram");
  for (int k = 0; k < 3; ++k) a.run(k);
  a.q->compress();
  const auto want = a.run(5);
  a.q->export_model(folder / "m.safetensors", folder / "c.json");
  const std::string layers = R"([{"quant_types": ["weight", "input"], "quant_bits": 8,
      "op_types": ["Conv2d"], KEYS}, )" +
                             outputs("Add") + "]";
  BlockRun qat(replace(layers, "KEYS", R"("quant_dtype": {"weight": "int"},
      "quant_scheme": {"weight": "per_tensor_symmetric"})"));
  BlockRun lsq(replace(layers, ", KEYS", ""), false, true, 0, "LsqQuantizer");
  for (BlockRun* run : {&qat, &lsq}) {
    const bool learned = run == &lsq;
    CAPTURE(learned);
    run->q->load_calibration_config(folder / "c.json");
    const float theirs = a.member("bn2").params().scale;
    for (const std::string& m : kMembers) {
      const auto& member =
          dynamic_cast<FakeQuantize&>(*run->net->find(m + ".activation_post_process"));
      REQUIRE(member.initialised());
      // Of signed codes LSQ has -128 .. 127, the others 255 steps around 0.
      REQUIRE(member.params().scale == Approx(theirs).epsilon(learned ? 0.005 : 0));
    }
    // The same weights and ranges; QAT evaluates the same codes.
    run->net->eval();
    std::vector<float> y;
    {
      const NoGrad no_grad;
      y = (*run->net)(Variable(a.batch(5))).value().to_vector<float>();
    }
    run->net->train();
    float largest = 0;
    for (size_t i = 0; i < y.size(); ++i) largest = std::max(largest, std::fabs(y[i] - want[i]));
    if (!learned) REQUIRE(largest == 0);
    REQUIRE(largest < 0.05f);
    // Training goes on from it: a first batch does not start anew.
    const float before =
        dynamic_cast<FakeQuantize&>(*run->net->find("bn2.activation_post_process")).params().scale;
    (*run->net)(Variable(run->batch(0)));
    const float after =
        dynamic_cast<FakeQuantize&>(*run->net->find("bn2.activation_post_process")).params().scale;
    REQUIRE(after == Approx(before).epsilon(0.05));
  }
}

TEST_CASE("Observer, a shared scale wants one observer for all its members") {
  const Context c(two_threads());
  auto net = make<Block>(c, false);
  net->eval();
  const std::string list = R"([{"quant_types": ["weight", "input"], "quant_bits": 8,
      "op_types": ["Conv2d"], "observer": {"input": "percentile"}, "percentile": 99.9}, )";
  const auto build = [&](const std::string& keys) {
    ObserverQuantizer(*net, list + outputs("Add").insert(1, keys) + "]", nullptr,
                      Tensor::zeros(c, {1, 6, 6, 2}));
  };
  REQUIRE_THROWS_WITH(build(""), Catch::Contains("one observer"));
  REQUIRE_THROWS_WITH(build(R"("observer": "percentile", )"), Catch::Contains("one percentile"));
  REQUIRE_THROWS_WITH(
      build(R"("observer": "percentile", "percentile": 99.9, "reduce_range": true, )"),
      Catch::Contains("one reduce_range"));
}

TEST_CASE("Observer, ResNet-20 after calibration: nothing is left to floats") {
  const Context c(two_threads());
  Model model = make_model("resnet20", c);
  model->eval();
  const std::string list = R"([{"quant_types": ["weight", "input"], "quant_bits": 8,
      "op_types": ["Conv2d", "Linear"]}, )" +
                           outputs("Add") + "]";
  ObserverQuantizer q(*model.module, list, nullptr, Tensor::zeros(c, model.batch_shape(1)));
  REQUIRE(q.warnings().empty());
  const NoGrad no_grad;
  const Variable x(spread(c, model.batch_shape(4), -1, 1, 7));
  const auto real = (*model.module)(x).value().to_vector<float>();
  q.compress();
  REQUIRE(q.float_layers().empty());
  REQUIRE(q.sums().size() == 9);
  const auto y = (*model.module)(x).value().to_vector<float>();
  float largest = 0, difference = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    largest = std::max(largest, std::fabs(real[i]));
    difference = std::max(difference, std::fabs(real[i] - y[i]));
  }
  REQUIRE(difference > 0);
  REQUIRE(difference < 0.1f * largest);  // 20 layers of 8 bits on a random network
}
