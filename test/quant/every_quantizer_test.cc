// What holds for every registered quantizer, whatever its algorithm.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/optimizer.h"
#include "quant/quantizer.h"
#include "tensor/safetensors.h"
#include "test/quant/chain_oracle.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;

namespace {

// Every type that the algorithm takes, on every Conv2d and Linear, in 4 bits or what is next to it.
// Only the logits stay as they are: of one bit, hardly a gradient would pass.
ConfigList config_for(const Quantizer& quantizer) {
  const ConfigRules rules = quantizer.rules();
  ConfigValues entry;
  entry.quant_types.emplace();
  for (const QuantType type : rules.types) entry.quant_types->push_back(name_of(type));
  entry.quant_bits = std::clamp(4, rules.min_bits, rules.max_bits);
  entry.op_types = {"Conv2d", "Linear"};
  ConfigValues last = entry;
  last.op_names = {"5"};
  auto& types = *last.quant_types;
  types.erase(std::remove(types.begin(), types.end(), "output"), types.end());
  return std::vector<ConfigValues>{entry, last};
}

// conv - batch norm - ReLU - pool - linear, quantized, with its optimizer.
struct Run {
  explicit Run(const std::string& name) : context(options()), model(make<Sequential>(context)) {
    Conv2dArgs conv;
    conv.in_channels = 2;
    conv.out_channels = 5;
    conv.padding = 1;
    model->append(make<Conv2d>(context, conv));
    model->append(make<BatchNorm>(context, 5, 2));
    model->append(make_relu(context));
    model->append(make<MaxPool2d>(context, Pool2dOptions{2, 2, 2, 2}));
    model->append(make<Flatten>(context));
    model->append(make<Linear>(context, 5 * 4 * 4, 3));
    store = std::make_unique<ParameterStore>(*model);
    optimizer = make_optimizer(*store, {});
    model->eval();
    const auto any = make_quantizer(name, *model, "[]");
    quantizer = make_quantizer(name, *model, config_for(*any), optimizer.get(), batch(0));
    for (int k = 0; k < 2 && quantizer->needs_calibration(); ++k) (*model)(Variable(batch(k)));
    quantizer->compress();
    model->train();
  }
  static ContextOptions options() {
    ContextOptions o;
    o.threads = 2;
    o.seed = 5;
    return o;
  }
  Tensor batch(int k) const { return spread(context, {6, 8, 8, 2}, -0.8f, 1.4f, 3 + 2 * k); }
  float step(int k) {
    optimizer->zero_grad();
    const Tensor labels =
        Tensor::from(context, Shape{6}, std::vector<int64_t>{0, 1, 2, k % 3, 1, 0});
    Variable loss = cross_entropy((*model)(Variable(batch(k))), labels);
    loss.backward();
    optimizer->step();
    return loss.value().item<float>();
  }
  std::vector<float> evaluate() {
    NoGrad no_grad;
    model->eval();
    const auto y = (*model)(Variable(batch(9))).value().to_vector<float>();
    model->train();
    return y;
  }
  std::map<std::string, std::vector<float>> values() {
    std::map<std::string, std::vector<float>> out;
    for (auto& [name, tensor] : model->state_dict())
      out[name] = tensor.to(DType::kFloat32).to_vector<float>();
    return out;
  }

  Context context;
  std::shared_ptr<Sequential> model;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Quantizer> quantizer;
};

template <class Body>
void for_every_quantizer(Body body) {
  for (const std::string& name : quantizer_names()) {
    DYNAMIC_SECTION(name) { body(name); }
  }
}

}  // namespace

TEST_CASE("every quantizer trains, and moves the weights") {
  for_every_quantizer([](const std::string& name) {
    Run run(name);
    const auto before = run.values();
    for (int k = 0; k < 4; ++k) REQUIRE(std::isfinite(run.step(k)));
    REQUIRE(run.quantizer->step() == 5);
    REQUIRE(run.values().at("0.weight") != before.at("0.weight"));
    REQUIRE(run.values().at("5.weight") != before.at("5.weight"));
    for (const float v : run.evaluate()) REQUIRE(std::isfinite(v));
  });
}

TEST_CASE("every quantizer evaluates before any step, and evaluation changes no state") {
  for_every_quantizer([](const std::string& name) {
    Run run(name);
    const auto before = run.values();
    const auto y = run.evaluate();
    for (const float v : y) REQUIRE(std::isfinite(v));
    REQUIRE(run.evaluate() == y);
    REQUIRE(run.values() == before);
  });
}

TEST_CASE("every quantizer resumes with the same bits") {
  for_every_quantizer([](const std::string& name) {
    Run first(name), second(name);
    for (int k = 0; k < 4; ++k) first.step(k);
    second.model->load_state_dict(first.model->state_dict());
    second.optimizer->load_state_dict(first.optimizer->state_dict());
    second.context.random() = first.context.random();
    REQUIRE(second.quantizer->step() == 5);
    REQUIRE(first.evaluate() == second.evaluate());
    for (int k = 4; k < 7; ++k) REQUIRE(first.step(k) == second.step(k));
    REQUIRE(first.values() == second.values());
  });
}

TEST_CASE("every quantizer exports, exports again, and goes on from its export") {
  for_every_quantizer([](const std::string& name) {
    const TempFolder folder;
    Run run(name);
    for (int k = 0; k < 3; ++k) run.step(k);
    const auto before = run.evaluate();
    const auto state = run.values();
    run.quantizer->export_model(folder / "a", folder / "a.json");
    run.quantizer->export_model(folder / "b", folder / "b.json");
    REQUIRE(read_bytes(folder / "a") == read_bytes(folder / "b"));
    REQUIRE(read_bytes(folder / "a.json") == read_bytes(folder / "b.json"));
    REQUIRE(run.evaluate() == before);
    REQUIRE(run.values() == state);

    const TensorFile file = load_safetensors(run.context, folder / "a");
    REQUIRE(file.metadata.at("quantizer") == name);
    for (const char* layer : {"0", "5"}) {
      const bool chain = file.tensors.count(layer + std::string(".integer.weight_codes")) == 1;
      REQUIRE(chain != (file.tensors.count(layer + std::string(".weight_codes")) == 1));
    }
    const auto calibration = nlohmann::json::parse(read_bytes(folder / "a.json"));
    REQUIRE(calibration.at("0").contains("weight_bits"));
    REQUIRE(calibration.at("5").contains("weight_bits"));

    Run other(name);
    other.quantizer->load_model(folder / "a");
    REQUIRE(other.evaluate() == before);
    REQUIRE(std::isfinite(other.step(3)));
  });
}

TEST_CASE("every quantizer says what its export cannot do, and whose file it is given") {
  for_every_quantizer([](const std::string& name) {
    const TempFolder folder;
    Run run(name);
    run.step(0);
    REQUIRE_THROWS_WITH(run.quantizer->export_model("", "", folder / "x.onnx"),
                        Catch::Contains("x.onnx") && Catch::Contains("not written yet"));
    save_safetensors(folder / "plain", {run.model->state_dict(), {}});
    REQUIRE_THROWS_WITH(run.quantizer->load_model(folder / "plain"),
                        Catch::Contains("plain") && Catch::Contains(name));
  });
}
