// What holds for every registered quantizer, whatever its algorithm.
#include <catch2/catch.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tensor/safetensors.h"
#include "test/quant/every_quantizer.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;

TEST_CASE("every quantizer trains, and moves the weights") {
  for_every_net([](const std::string& name, EveryNet kind) {
    EveryRun run(name, "", kind);
    const auto before = run.values();
    for (int k = 0; k < 4; ++k) REQUIRE(std::isfinite(run.step(k)));
    REQUIRE(run.quantizer->step() == 5);
    REQUIRE(run.values().at("0.weight") != before.at("0.weight"));
    REQUIRE(run.values().at("5.weight") != before.at("5.weight"));
    for (const float v : run.evaluate()) REQUIRE(std::isfinite(v));
  });
}

TEST_CASE("every quantizer evaluates before any step, and evaluation changes no state") {
  for_every_net([](const std::string& name, EveryNet kind) {
    EveryRun run(name, "", kind);
    const auto before = run.values();
    const auto y = run.evaluate();
    for (const float v : y) REQUIRE(std::isfinite(v));
    REQUIRE(run.evaluate() == y);
    REQUIRE(run.values() == before);
  });
}

TEST_CASE("every quantizer resumes with the same bits") {
  for_every_net([](const std::string& name, EveryNet kind) {
    EveryRun first(name, "", kind), second(name, "", kind);
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
  for_every_net([](const std::string& name, EveryNet kind) {
    const TempFolder folder;
    EveryRun run(name, "", kind);
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
      // NaiveQuantizer leaves inputs as they are.
      if (kind != EveryNet::kDefaults) REQUIRE(chain == (name != "NaiveQuantizer"));
    }
    const auto calibration = nlohmann::json::parse(read_bytes(folder / "a.json"));
    REQUIRE(calibration.at("0").contains("weight_bits"));
    REQUIRE(calibration.at("5").contains("weight_bits"));

    EveryRun other(name, "", kind);
    other.quantizer->load_model(folder / "a");
    REQUIRE(other.evaluate() == before);
    // What an export does not hold: the optimizer's state, and the random numbers.
    other.optimizer->load_state_dict(run.optimizer->state_dict());
    other.context.random() = run.context.random();
    for (int k = 3; k < 6; ++k) REQUIRE(other.step(k) == run.step(k));
    REQUIRE(other.values() == run.values());
  });
}

TEST_CASE("every quantizer says what its export cannot do, and whose file it is given") {
  for_every_net([](const std::string& name, EveryNet kind) {
    const TempFolder folder;
    EveryRun run(name, "", kind);
    run.step(0);
    REQUIRE_THROWS_WITH(run.quantizer->export_model("", "", folder / "x.onnx"),
                        Catch::Contains("x.onnx") && Catch::Contains("--format onnx") &&
                            Catch::Contains("deploy/export_onnx.h"));
    save_safetensors(folder / "plain", {run.model->state_dict(), {}});
    REQUIRE_THROWS_WITH(run.quantizer->load_model(folder / "plain"),
                        Catch::Contains("plain") && Catch::Contains(name));
  });
}
