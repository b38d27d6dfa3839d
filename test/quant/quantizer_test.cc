#include "quant/quantizer.h"

#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "nn/optimizer.h"
#include "nn/zoo/zoo.h"
#include "tensor/safetensors.h"
#include "test/quant/lenet_run.h"

using namespace halftone;
using namespace halftone::test;

namespace {

const char* const kConfig = R"([{"quant_types": ["weight", "input"], "quant_bits": 8,
  "op_types": ["Conv2d", "Linear"], "quant_dtype": {"weight": "int", "input": "uint"},
  "quant_scheme": {"weight": "per_channel_symmetric", "input": "per_tensor_affine"}}])";

// LeNet-5 with an optimizer and, unless config is empty, a quantizer.
using Run = QatRun;

struct TemporaryFile {
  explicit TemporaryFile(const std::string& name)
      : path("quantizer_test-" + std::to_string(getpid()) + "-" + name) {}
  ~TemporaryFile() { std::remove(path.c_str()); }
  std::string path;
};

std::string contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

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

TEST_CASE("export is repeatable, changes nothing, and holds what deploys") {
  Run run(kConfig);
  for (int k = 0; k < 3; ++k) run.step(k);
  TemporaryFile a("a.safetensors"), b("b.safetensors"), json("a.json");
  const auto before = run.evaluate();
  run.quantizer->export_model(a.path, json.path);
  run.quantizer->export_model(b.path, "");
  REQUIRE(contents(a.path) == contents(b.path));
  REQUIRE(run.evaluate() == before);
  const TensorFile file = load_safetensors(run.context, a.path);
  REQUIRE(file.tensors.at("conv1.weight").shape() == Shape{6, 1, 5, 5});
  REQUIRE(file.tensors.at("conv2.integer.weight_codes").shape() == Shape{16, 6, 5, 5});
  REQUIRE(file.tensors.at("conv2.integer.weight_codes").dtype() == DType::kInt8);
  for (const char* name :
       {"weight_scale", "bias_codes", "multiplier", "folded_weight", "folded_bias", "input_scale",
        "input_zero_point", "output_scale", "output_zero_point", "output_code_range"}) {
    REQUIRE(file.tensors.count("fc1.integer." + std::string(name)) == 1);
  }
  REQUIRE(file.tensors.count("fc3.integer.output_scale") == 0);  // logits stay float
  const auto calibration = nlohmann::json::parse(contents(json.path));
  REQUIRE(calibration["conv2"]["weight_bits"] == 8);
  REQUIRE(calibration["conv2"]["weight_scale"].size() == 16);
  REQUIRE(calibration["conv2"]["tracked_min_input"] == 0.0);
  REQUIRE(calibration["fc3"]["tracked_max_input"] > 0.0);
}

TEST_CASE("the exported constants give the folded layer: scales, signs and bias") {
  Run run(kConfig);
  run.model->find("bn1")->named_parameters()[0].second.mutable_value().data<float>()[2] = -0.7f;
  for (int k = 0; k < 2; ++k) run.step(k);
  TemporaryFile a("c.safetensors");
  run.quantizer->export_model(a.path, "");
  const auto t = load_safetensors(run.context, a.path).tensors;
  const float sx = t.at("conv1.integer.input_scale").item<float>();
  for (int c = 0; c < 6; ++c) {
    const float s = t.at("conv1.integer.weight_scale").data<float>()[c];
    for (int i = 0; i < 25; ++i) {
      const float w = s * t.at("conv1.integer.weight_codes").data<int8_t>()[25 * c + i];
      // Half a step of the folded weight; its range has moved by one optimizer step since the scale
      // was taken.
      REQUIRE(std::fabs(w - t.at("conv1.integer.folded_weight").data<float>()[25 * c + i]) <=
              0.75f * s);
    }
    const float b =
        sx * s * static_cast<float>(t.at("conv1.integer.bias_codes").data<int32_t>()[c]);
    REQUIRE(std::fabs(b - t.at("conv1.integer.folded_bias").data<float>()[c]) <= 0.51f * sx * s);
  }
}

TEST_CASE("calibration files: loaded ranges stay, and evaluation uses them at once") {
  Run trained(kConfig);
  for (int k = 0; k < 3; ++k) trained.step(k);
  TemporaryFile json("d.json");
  trained.quantizer->export_model("", json.path);
  Run fresh(kConfig);
  fresh.quantizer->load_calibration_config(json.path);
  for (size_t i = 0; i < fresh.quantizer->points().size(); ++i) {
    const QuantPoint &f = fresh.quantizer->points()[i], &t = trained.quantizer->points()[i];
    if (f.type == QuantType::kWeight) continue;
    REQUIRE(f.quantizer->params() == t.quantizer->params());
  }
  REQUIRE(fresh.evaluate() != Run("").evaluate());  // quantized
  const float high = fresh.quantizer->points()[1].quantizer->ranges()[0].high;
  fresh.step(0);
  REQUIRE(std::fabs(fresh.quantizer->points()[1].quantizer->ranges()[0].high - high) <=
          0.02f * std::fabs(high));
}

TEST_CASE("calibration files that do not fit are refused, and nothing is loaded") {
  Run fresh(kConfig);
  TemporaryFile json("f.json");
  const std::string good = R"("conv1": {"tracked_min_input": -1, "tracked_max_input": 2}, )";
  for (const auto& [text, parts] : std::vector<std::pair<std::string, std::vector<std::string>>>{
           {R"("conv2": {"input_bits": 4})", {"conv2", "input_bits 8", "found 4"}},
           {R"("conv2": {"tracked_min_input": 3, "tracked_max_input": -3})", {"conv2", "3 and -3"}},
           {R"("fc1": 7)", {"fc1", "a JSON object", "7"}},
           {R"("fc9": {})", {"fc9", "a quantized layer", "did you mean"}},
           {R"("fc1": {"tracked_min_input": [0, 1], "tracked_max_input": 1})",
            {"fc1", "2 and 1"}}}) {
    std::ofstream(json.path) << "{" << good << text << "}";
    std::string what;
    try {
      fresh.quantizer->load_calibration_config(json.path);
    } catch (const Error& e) {
      what = e.what();
    }
    for (const std::string& part : parts) REQUIRE_THAT(what, Catch::Contains(part));
    for (const QuantPoint& p : fresh.quantizer->points()) REQUIRE(!p.quantizer->initialised());
  }
  Run plain("");
  auto early = make_quantizer("QAT_Quantizer", *plain.model.module, kConfig);
  REQUIRE_THROWS_WITH(early->load_calibration_config(json.path), Catch::Contains("compress()"));
  REQUIRE_THROWS_WITH(fresh.quantizer->load_calibration_config("nowhere.json"),
                      Catch::Contains("nowhere.json"));
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
}

TEST_CASE("what has no integer form runs on the float path and says why") {
  std::string affine = kConfig;
  affine.replace(affine.find("per_channel_symmetric"), 21, "per_tensor_affine");
  Run run(affine);
  REQUIRE(run.quantizer->integer_obstacle("conv1") == "affine weights");
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

TEST_CASE("a state of other bits, dtype or scheme is refused by name") {
  Run trained(kConfig);
  trained.step(0);
  const auto replaced = [](std::string text, const std::string& from, const std::string& to) {
    return text.replace(text.find(from), from.size(), to);
  };
  for (const auto& [from, to, expected, found] : std::vector<std::array<std::string, 4>>{
           {": 8", ": 4", "uint4 per-tensor", "uint8 per-tensor"},
           {"\"uint\"", "\"int\"", "int8 per", "uint8 per"},
           {"per_tensor_affine", "per_tensor_symmetric", "uint8 per-tensor symmetric",
            "uint8 per-tensor affine"}}) {
    Run other(replaced(kConfig, from, to));
    const auto before = other.evaluate();
    REQUIRE_THROWS_WITH(other.model->load_state_dict(trained.model->state_dict()),
                        Catch::Contains("fake_quant.spec") && Catch::Contains("expected") &&
                            Catch::Contains(expected) && Catch::Contains("found") &&
                            Catch::Contains(found));
    REQUIRE(other.evaluate() == before);  // nothing was loaded
  }
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
