// Exports, calibration files and states of quantizers.
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "quant/quantizer.h"
#include "tensor/safetensors.h"
#include "test/quant/lenet_run.h"
#include "test/quant/quantizer_run.h"

using namespace halftone;
using namespace halftone::test;

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
