// load_calibration_config: scales of weights, what a file leaves out, learned ranges.
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "quant/lsq_quantize.h"
#include "test/quant/layer_net.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

namespace {

const char* const kLearned = R"([{"quant_types": ["weight", "input"], "quant_bits": 4,
  "op_types": ["Conv2d", "Linear"], "quant_scheme": {"weight": "per_channel_symmetric"}}])";
const char* const kRanges = R"([{"quant_types": ["weight", "input"], "quant_bits": 4,
  "op_types": ["Conv2d", "Linear"], "quant_dtype": {"weight": "int"},
  "quant_scheme": {"weight": "per_channel_symmetric"}}])";

std::vector<float> scales_of(const FakeQuantize& q) {
  std::vector<float> out;
  for (const quant_math::Grid& g : q.grids(4).list) out.push_back(g.scale);
  return out;
}

void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

}  // namespace

TEST_CASE("scales of weights are loaded, to the bit: learned ones and those of ranges") {
  for (const auto& [name, config] :
       std::vector<std::pair<std::string, std::string>>{{"LsqQuantizer", kLearned},
                                                        {"LsqPlusQuantizer", kLearned},
                                                        {"QAT_Quantizer", kRanges}}) {
    CAPTURE(name);
    const TempFolder folder;
    LayerNet trained(name, config), fresh(name, config);
    trained.train(3);
    trained.quantizer->export_model("", folder / "c.json");
    for (const char* layer : {"conv", "fc"}) {
      REQUIRE(scales_of(fresh.at(layer, QuantType::kWeight)) !=
              scales_of(trained.at(layer, QuantType::kWeight)));
    }
    fresh.quantizer->load_calibration_config(folder / "c.json");
    for (const char* layer : {"conv", "fc"}) {
      CHECK(scales_of(fresh.at(layer, QuantType::kWeight)) ==
            scales_of(trained.at(layer, QuantType::kWeight)));
    }
    CHECK(fresh.quantizer->warnings().empty());
    for (const float v : fresh.logits()) CHECK(std::isfinite(v));
    // Learning goes on from the scale, it is not taken anew; a range follows its weights.
    const std::vector<float> before = scales_of(fresh.at("fc", QuantType::kWeight));
    fresh.train(1);
    const std::vector<float> after = scales_of(fresh.at("fc", QuantType::kWeight));
    if (name != "QAT_Quantizer") {
      for (size_t c = 0; c < after.size(); ++c)
        CHECK(std::fabs(after[c] - before[c]) <= 1.01e-3f);  // one step of Adam at rate 1e-3
    }
  }
}

TEST_CASE("the same weights with loaded scales evaluate as the exporter does") {
  const TempFolder folder;
  LayerNet trained("QAT_Quantizer", kRanges), fresh("QAT_Quantizer", kRanges);
  trained.train(3);
  trained.quantizer->export_model("", folder / "c.json");
  auto state = fresh.net->state_dict();
  for (const auto& [name, value] : trained.net->state_dict()) {
    if (name.find("fake_quant") == std::string::npos &&
        name.find("post_process") == std::string::npos)
      state[name] = value;
  }
  fresh.net->load_state_dict(state);
  CHECK(fresh.logits() != trained.logits());
  fresh.quantizer->load_calibration_config(folder / "c.json");
  CHECK(fresh.logits() == trained.logits());
}

TEST_CASE("scales of signed weights are no scales of unsigned codes: the weights' own are taken") {
  const TempFolder folder;
  const std::string layers = R"([{"quant_types": ["weight", "input"], "quant_bits": 8,
    "op_types": ["Conv2d", "Linear"], "quant_dtype": {"weight": )";
  const std::string symmetric =
      layers + R"("int"}, "quant_scheme": {"weight": "per_tensor_symmetric"}}])";
  LayerNet made("QAT_Quantizer", symmetric), other("QAT_Quantizer", layers + R"("uint"}}])");
  made.train(1);
  made.quantizer->export_model("", folder / "c.json");
  other.quantizer->load_calibration_config(folder / "c.json");
  CHECK_THAT(other.quantizer->warnings().back(), Contains("no codes for weights of one sign"));
  // The same ranges from a file that says nothing of weights.
  std::ifstream in(folder / "c.json");
  auto file = nlohmann::json::parse(in);
  for (auto& [name, layer] : file.items()) {
    layer.erase("weight_scale");
    layer.erase("weight_zero_point");
  }
  write(folder / "without.json", file.dump());
  LayerNet alone("QAT_Quantizer", layers + R"("uint"}}])");
  alone.quantizer->load_calibration_config(folder / "without.json");
  CHECK(scales_of(*other.quantizer->points()[0].quantizer) ==
        scales_of(*alone.quantizer->points()[0].quantizer));
  CHECK(other.logits() == alone.logits());
}

TEST_CASE("what a file leaves out, and what it has beyond config_list, is warned of by name") {
  const TempFolder folder;
  write(folder / "c.json", R"({"conv": {"weight_bits": 4, "tracked_min_input": -1,
    "tracked_max_input": 1, "output_bits": 8, "tracked_min_output": 0, "tracked_max_output": 3}})");
  LayerNet net("QAT_Quantizer", kRanges);
  net.quantizer->load_calibration_config(folder / "c.json");
  REQUIRE(net.quantizer->warnings().size() == 2);
  CHECK_THAT(net.quantizer->warnings()[0],
             Contains("c.json gives no range for fc (weight), fc (input)") && !Contains("conv"));
  CHECK_THAT(net.quantizer->warnings()[1], Contains("conv (output)"));
  CHECK(net.at("conv", QuantType::kWeight).initialised());  // its own range, as there is no scale
  CHECK_FALSE(net.at("fc", QuantType::kInput).initialised());
  // A learned scale stays what it is without the file's.
  LayerNet learned("LsqQuantizer", kLearned);
  learned.quantizer->load_calibration_config(folder / "c.json");
  CHECK_THAT(learned.quantizer->warnings().at(0),
             Contains("conv (weight), fc (weight), fc (input)"));
}

TEST_CASE("scales that cannot be a weight's are refused, and nothing is loaded") {
  const TempFolder folder;
  for (const auto& [values, wanted] : std::vector<std::pair<std::string, std::string>>{
           {R"("weight_scale": [1, 1, 1])", "4 of weight_scale"},
           {R"("weight_scale": [1, 1, 0, 1])", "a weight_scale of at least 2^-23"},
           {R"("weight_scale": [1, 1, -2, 1])", "a weight_scale of at least 2^-23"},
           {R"("weight_scale": [1, 1, 1, 1], "weight_zero_point": [0, 0, 0, 2])", "from 0 to 0"},
           {R"("weight_scale": [1, 1, 1, 1], "weight_zero_point": [0, 0.5, 0, 0])", "whole"},
           {R"("weight_scale": "1")", "a number or a list"}}) {
    write(folder / "c.json", R"({"fc": {"tracked_min_input": 0, "tracked_max_input": 1},
      "conv": {)" + values + "}}");
    for (const auto& [name, config] : std::vector<std::pair<std::string, std::string>>{
             {"LsqQuantizer", kLearned}, {"QAT_Quantizer", kRanges}}) {
      LayerNet net(name, config);
      const auto before = scales_of(net.at("conv", QuantType::kWeight));
      CHECK_THAT(error_of([&] { net.quantizer->load_calibration_config(folder / "c.json"); }),
                 Contains("c.json, conv") && Contains(wanted));
      CHECK(scales_of(net.at("conv", QuantType::kWeight)) == before);
      CHECK_FALSE(net.at("fc", QuantType::kInput).initialised());
    }
  }
}

TEST_CASE("learned grids widen ranges that hold no zero") {
  const Context c;
  for (const bool plus : {false, true}) {
    for (const bool is_signed : {false, true}) {
      for (const kernels::Range range :
           std::vector<kernels::Range>{{0.5f, 2}, {-3, -1}, {-1, 2}, {0, 4}, {-2, 0}}) {
        if (!plus && !is_signed && range.high <= 0) continue;  // no such value has a code
        CAPTURE(plus, is_signed, range.low, range.high);
        FakeQuantizeArgs args;
        args.spec.bits = 4;
        args.spec.is_signed = is_signed;
        args.spec.symmetric = !plus;
        LsqQuantize q(c, args);
        q.set_ranges({range});
        REQUIRE(q.initialised());
        const quant_math::Grid g = q.grids(4).list.at(0);
        REQUIRE((g.zero_point >= g.qmin && g.zero_point <= g.qmax));
        const float low = plus || is_signed ? std::min(range.low, 0.0f) : 0,
                    high = std::max(range.high, 0.0f);
        // All of 16 codes for the range and zero, or the larger end on its last code.
        const float ends = is_signed ? std::max(high / 7, -low / 8) : high / 15;
        CHECK(g.scale == Approx(plus ? (high - low) / 15 : ends));
        const kernels::Range got = q.ranges()[0];
        // A rounded zero point moves an end by half a step.
        const float slack = 0.51f * g.scale;
        if (plus || !is_signed) CHECK((got.low >= low - slack && got.low <= low + slack));
        if (low < 0 || high > 0) CHECK((got.low <= low + slack && got.high >= high - slack));
        // It survives a step: the offset lies where zero has a code.
        const float offset = plus ? q.offset.value().item<float>() : 0;
        q.after_step();
        if (plus) CHECK(q.offset.value().item<float>() == offset);
      }
    }
  }
}

TEST_CASE("a range of zeros says nothing of a learned scale") {
  const Context c;
  LsqQuantize q(c, FakeQuantizeArgs());
  q.set_ranges({{0, 0}});
  CHECK_FALSE(q.initialised());
}
