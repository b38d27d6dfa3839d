// Post-training quantization of networks.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "nn/zoo/zoo.h"
#include "quant/observer_quantize.h"
#include "quant/observer_quantizer.h"
#include "test/quant/chain_net.h"
#include "test/quant/observer_run.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;

TEST_CASE("until compress() the network is the float one, bit for bit") {
  Lenet plain("", false), observed("");
  for (int k = 0; k < 3; ++k) REQUIRE(plain.logits(k) == observed.logits(k));
  observed.quantizer->compress();
  REQUIRE(plain.logits() != observed.logits());
}

TEST_CASE("after compress() the codes are those of a plain scalar oracle, forward after forward") {
  for (Case c : cases()) {
    if (c.fold != "scale") continue;  // not its key
    DYNAMIC_SECTION(c.name) {
      c.quantizer = "ObserverQuantizer";
      Net net(c);
      const Tensor probe = net.x;
      for (int k = 0; k < 3; ++k)
        (*net.model)(Variable(spread(net.context, net.x.shape(), -1.0f, 2.0f, 7 + k)));
      net.quantizer->compress();
      // NNI evaluates the float weights from the first forward on (its bug O1).
      for (int forward = 0; forward < 3; ++forward) {
        LayerOracle o = oracle_of(c, net);
        const Variable y = (*net.model)(Variable(probe));
        REQUIRE(y.codes() != nullptr);
        take_grids(net, o, *y.codes());
        o.run();
        REQUIRE(differing(y.codes()->values.to_vector<uint8_t>(), o.codes) == 0);
      }
    }
  }
}

TEST_CASE("only forwards in evaluation mode are recorded, and no trace") {
  Lenet net("");
  net.model->train();
  net.logits();
  net.model->eval();
  trace(*net.model.module, Variable(Tensor::full(net.context, net.model.batch_shape(1), 99.0f)));
  REQUIRE(net.point("conv1").batches() == 0);
  net.calibrate(2);
  REQUIRE(net.point("conv1").batches() == 2);
  REQUIRE(net.point("conv1").ranges()[0].high < 3.0f);
  net.quantizer->compress();
  const auto state = net.model->state_dict();
  net.logits(500);
  for (const auto& [name, tensor] : net.model->state_dict()) {
    CAPTURE(name);
    REQUIRE(std::memcmp(tensor.raw(), state.at(name).raw(), tensor.nbytes()) == 0);
  }
}

TEST_CASE("compress() without calibration is refused, changes nothing, and works afterwards") {
  Lenet net("");
  REQUIRE_THROWS_WITH(net.quantizer->compress(),
                      Catch::Contains("conv1") && Catch::Contains("forward in evaluation mode"));
  for (const QuantPoint& p : net.quantizer->points()) REQUIRE(!p.quantizer->initialised());
  REQUIRE_THROWS_WITH(net.quantizer->export_model("", ""), Catch::Contains("compress()"));
  net.calibrate();
  REQUIRE_THROWS_WITH(net.quantizer->export_model("", ""), Catch::Contains("still records"));
  net.quantizer->compress();
  for (const QuantPoint& p : net.quantizer->points()) REQUIRE(p.quantizer->initialised());
  net.quantizer->export_model("", "");
}

TEST_CASE("a state saved during calibration goes on to the same network") {
  for (const ObserverKind kind : kKinds) {
    DYNAMIC_SECTION(name_of(kind)) {
      const std::string keys = R"("observer": ")" + name_of(kind) + "\"";
      Lenet whole(keys), first(keys), second(keys);
      for (int k = 0; k < 4; ++k) whole.logits(k);
      for (int k = 0; k < 2; ++k) first.logits(k);
      second.model->load_state_dict(first.model->state_dict());
      for (int k = 2; k < 4; ++k) second.logits(k);
      whole.quantizer->compress();
      second.quantizer->compress();
      REQUIRE(whole.logits() == second.logits());
      const TempFolder folder;
      whole.quantizer->export_model(folder / "a", folder / "a.json");
      second.quantizer->export_model(folder / "b", folder / "b.json");
      REQUIRE(read_bytes(folder / "a") == read_bytes(folder / "b"));
      REQUIRE(read_bytes(folder / "a.json") == read_bytes(folder / "b.json"));

      Lenet loaded(keys);
      loaded.quantizer->load_model(folder / "a");
      REQUIRE(loaded.logits() == whole.logits());
      loaded.quantizer->compress();  // nothing is left to do
      REQUIRE(loaded.logits() == whole.logits());
    }
  }
}

TEST_CASE("a state of another observer or range is refused by name") {
  Lenet histogram(""), kl(R"("observer": "kl")"), reduced(R"("reduce_range": true)");
  histogram.calibrate();
  kl.calibrate();
  REQUIRE_THROWS_WITH(
      Lenet(R"("observer": "percentile")").model->load_state_dict(kl.model->state_dict()),
      Catch::Contains("observer percentile") && Catch::Contains("observer kl"));
  REQUIRE_THROWS_WITH(reduced.model->load_state_dict(histogram.model->state_dict()),
                      Catch::Contains("reduced range"));
  auto state = histogram.model->state_dict();
  state["conv1.input_fake_quant.histogram"] = Tensor::zeros(histogram.context, {7});
  REQUIRE_THROWS_WITH(Lenet("").model->load_state_dict(state), Catch::Contains("2048 counts"));
}

TEST_CASE("bits, reduced range, dtypes and schemes") {
  const auto qmax = [](const std::string& keys) {
    Lenet net(keys.empty() ? "\"observer\": \"histogram\"" : keys);
    net.calibrate();
    net.quantizer->compress();
    const quant_math::Grid g = net.point("fc1").grids(2).list[0];
    for (const float v : net.logits()) REQUIRE(std::isfinite(v));
    return std::pair<int, int>{g.qmin, g.qmax};
  };
  CHECK(qmax("") == std::pair<int, int>{0, 255});
  CHECK(qmax(R"("reduce_range": true)") == std::pair<int, int>{0, 127});
  CHECK(qmax(R"("quant_dtype": {"input": "int"})") == std::pair<int, int>{-127, 127});
  CHECK(qmax(R"("reduce_range": true, "quant_dtype": {"input": "int"})") ==
        std::pair<int, int>{-63, 63});
  CHECK(qmax(R"("first_layer_bits": 16)") == std::pair<int, int>{0, 255});
  for (const int bits : {2, 4, 7, 12, 16}) {
    for (const ObserverKind kind : kKinds) {
      CAPTURE(bits, name_of(kind));
      QuantSpec spec;
      spec.bits = bits;
      Lone lone(kind, spec);
      lone.run({-0.5f, 0.1f, 0.2f, 1.0f});
      lone.q->fix();
      REQUIRE(lone.q->grids(1).list[0].qmax == (1 << bits) - 1);
      // Half a step of the range that was fixed, and the rounding of float32.
      const float step = lone.q->grids(1).list[0].scale;
      REQUIRE(lone.run({0.2f}).value().item<float>() == Approx(0.2f).margin(0.501 * step));
    }
  }
}

TEST_CASE("ranges per channel: weights always, activations with min_max and ema") {
  Lenet net(R"("observer": "min_max", "quant_scheme": {"weight": "per_channel_symmetric",
            "input": "per_channel_affine"})");
  net.calibrate();
  net.quantizer->compress();
  REQUIRE(net.point("conv2", QuantType::kWeight).ranges().size() == 16);
  REQUIRE(net.point("conv2").ranges().size() == 6);
  REQUIRE(net.quantizer->integer_obstacle("conv2") == "per-channel activations");
  for (const float v : net.logits()) REQUIRE(std::isfinite(v));
}

TEST_CASE("weights: s = max|w| / 127, of the weights at compress()") {
  Lenet net("");
  net.calibrate();
  auto& conv = dynamic_cast<WeightLayer&>(*net.model->find("conv1"));
  conv.weight.mutable_value().data<float>()[3] = -2.54f;
  net.quantizer->compress();
  REQUIRE(net.point("conv1", QuantType::kWeight).grids(4).list[0].scale == 2.54f / 127.0f);
}

TEST_CASE("it can be trained on, with the scales as they are") {
  Lenet net("");
  net.calibrate();
  net.quantizer->compress();
  const float scale = net.point("fc2").grids(2).list[0].scale;
  net.model->train();
  const Variable x(spread(net.context, net.model.batch_shape(4), -0.4f, 2.0f, 3));
  Variable loss =
      cross_entropy((*net.model.module)(x),
                    Tensor::from(net.context, Shape{4}, std::vector<int64_t>{0, 1, 2, 3}));
  loss.backward();
  for (auto& [name, p] : net.model->named_parameters()) {
    CAPTURE(name);
    REQUIRE(p.grad().defined());
  }
  REQUIRE(net.point("fc2").grids(2).list[0].scale == scale);
}

TEST_CASE("a layer that two paths share is calibrated by both") {
  const Context c;
  auto shared = make<Linear>(c, 4, 4);
  auto net = make<Sequential>(c);
  net->append("a", shared).append("b", shared);
  net->eval();
  ObserverQuantizer q(*net, config_with(""), nullptr, Tensor::zeros(c, {1, 4}));
  (*net)(Variable(spread(c, {3, 4}, -1, 1)));
  REQUIRE(dynamic_cast<ObserverQuantize&>(*q.points().at(0).quantizer).batches() +
              dynamic_cast<ObserverQuantize&>(*q.points().at(1).quantizer).batches() ==
          2);
  q.compress();
  for (const float v : (*net)(Variable(spread(c, {3, 4}, -1, 1))).value().to_vector<float>())
    REQUIRE(std::isfinite(v));
}

TEST_CASE("exclude, and calibration files in both directions") {
  const std::string config =
      R"([{"quant_types": ["weight", "input"], "quant_bits": 8, "op_types": ["Linear"]},
          {"op_names": ["fc3"], "exclude": true}])";
  Lenet net("", false);
  ObserverQuantizer q(*net.model.module, config);
  net.calibrate();
  q.compress();
  REQUIRE(q.points().size() == 4);
  const TempFolder folder;
  q.export_model("", folder / "c.json");
  const auto json = nlohmann::json::parse(read_bytes(folder / "c.json"));
  REQUIRE(json.at("fc1").at("tracked_qmax_input") == 255);
  REQUIRE(json.at("fc1").at("tracked_qmin_weight") == -127);
  REQUIRE(!json.contains("fc3"));

  Lenet other("", false);
  ObserverQuantizer loaded(*other.model.module, config);
  loaded.load_calibration_config(folder / "c.json");
  loaded.compress();  // ranges are there: no calibration is missing
  REQUIRE(other.logits() == net.logits());
}

TEST_CASE("an export made under another observer is refused with both observers' names") {
  Lenet kl(R"("observer": "kl")");
  kl.calibrate();
  kl.quantizer->compress();
  const TempFolder folder;
  kl.quantizer->export_model(folder / "m");
  Lenet histogram("");
  CHECK_THROWS_WITH(histogram.quantizer->load_model(folder / "m"),
                    Catch::Contains("conv1 (input) expected") &&
                        Catch::Contains("observer histogram") && Catch::Contains("found") &&
                        Catch::Contains("observer kl") &&
                        !Catch::Contains("another shape or type"));
  Lenet narrow(R"("observer": "kl", "reduce_range": true)");
  CHECK_THROWS_WITH(narrow.quantizer->load_model(folder / "m"),
                    Catch::Contains("observer kl, reduced range"));
  Lenet same(R"("observer": "kl")");
  same.quantizer->load_model(folder / "m");
  CHECK(same.logits() == kl.logits());
}

TEST_CASE("what cannot be observed is refused with its place") {
  Lenet training("", false);
  training.model->train();
  REQUIRE_THROWS_WITH(ObserverQuantizer(*training.model.module, config_with("")),
                      Catch::Contains("evaluation mode") && Catch::Contains("model.eval()"));
  for (const auto& [keys, parts] : std::vector<std::pair<std::string, std::vector<std::string>>>{
           {R"("quant_scheme": {"input": "per_channel_affine"})", {"conv1", "observer histogram"}},
           {R"("quant_start_step": 5)", {"entry 1", "no key \"quant_start_step\""}},
           {R"("observer": "median")", {"entry 1", "observer", "\"kl\"", "median"}},
           {R"("observer": {"weight": "kl"})", {"observer.weight", "min_max"}},
           {R"("percentile": 99)", {"percentile", "observer"}},
           {R"("observer": "percentile", "percentile": 40)", {"percentile", "[50, 100]"}},
           {R"("reduce_range": 1)", {"reduce_range", "true or false"}}}) {
    CAPTURE(keys);
    std::string what;
    try {
      const Lenet net(keys);
    } catch (const Error& e) {
      what = e.what();
    }
    for (const std::string& part : parts) CHECK_THAT(what, Catch::Contains(part));
  }
  const Context c;
  Model model = make_model("lenet5", c);
  REQUIRE_THROWS_WITH(
      make_quantizer("QAT_Quantizer", *model.module, config_with(R"("observer": "kl")"))
          ->compress(),
      Catch::Contains("\"ema\", \"min_max\""));
  REQUIRE_THROWS_WITH(
      make_quantizer("QAT_Quantizer", *model.module, config_with(R"("reduce_range": true)"))
          ->compress(),
      Catch::Contains("ObserverQuantizer"));
}
