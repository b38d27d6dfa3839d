// Values that are finite, and whose squares float32 does not hold.
#include <catch2/catch.hpp>
#include <cmath>

#include "test/quant/layer_net.h"

using namespace halftone;
using namespace halftone::test;

namespace {

std::string config(const std::string& name, bool inputs) {
  const std::string types = inputs ? R"("weight", "input")" : R"("weight")";
  const std::string more = name == "QAT_Quantizer" ? R"(, "quant_dtype": {"weight": "int"},
      "quant_scheme": {"weight": "per_channel_symmetric"})"
                                                   : "";
  return R"([{"quant_types": [)" + types + R"(], "quant_bits": )" +
         (name == "BNNQuantizer" ? "1" : "8") + R"(,
      "op_types": ["Conv2d", "Linear"])" +
         more + "}]";
}

void step(LayerNet& run, float factor, int k) {
  Tensor x = run.batch(k).clone();
  for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] *= factor;
  run.optimizer->zero_grad();
  const Tensor labels = Tensor::from<int64_t>(run.context, {4}, {0, 1, 2, 1});
  Variable loss = cross_entropy((*run.net)(Variable(x)), labels);
  loss.backward();
  run.optimizer->step();
}

// As bytes: NaN is not equal to itself.
std::vector<std::string> state_of(LayerNet& run) {
  std::vector<std::string> out;
  for (const auto& [name, t] : run.net->state_dict())
    out.emplace_back(static_cast<const char*>(t.raw()), t.numel() * size_of(t.dtype()));
  return out;
}

}  // namespace

TEST_CASE("inputs of 1e37 are refused in the step that they come in, and change nothing") {
  for (const std::string name : {"QAT_Quantizer", "LsqQuantizer", "LsqPlusQuantizer"}) {
    for (const bool integer : {true, false}) {
      for (const float huge : {1e19f, 1e25f, 1e37f}) {
        for (const int when : {0, 2}) {
          // A known learned scale clips them to the last code, as anything beyond it.
          if (when > 0 && name != "QAT_Quantizer") continue;
          CAPTURE(name, integer, huge, when);
          LayerNet run(name, config(name, true), integer), other(name, config(name, true), integer);
          run.train(when);
          other.train(when);
          const auto before = state_of(run);
          const std::string error = error_of([&] { step(run, huge, 1); });
          REQUIRE_THAT(error, Catch::Contains("conv.input_fake_quant") &&
                                  Catch::Contains("up to 2^60") && Catch::Contains("e+") &&
                                  Catch::Contains("normalise the data"));
          REQUIRE(state_of(run) == before);
          step(run, 1, 3);
          step(other, 1, 3);
          REQUIRE(state_of(run) == state_of(other));
        }
      }
    }
  }
}

TEST_CASE("LSQ: huge values behind a known scale are clipped, and leave all state finite") {
  for (const std::string name : {"LsqQuantizer", "LsqPlusQuantizer"}) {
    for (const bool integer : {true, false}) {
      CAPTURE(name, integer);
      LayerNet run(name, config(name, true), integer);
      run.train(2);
      step(run, 1e37f, 1);
      for (const auto& [key, t] : run.net->state_dict()) {
        CAPTURE(key);
        if (t.dtype() != DType::kFloat32) continue;
        for (const float v : t.to_vector<float>()) REQUIRE(std::isfinite(v));
      }
    }
  }
}

TEST_CASE("float inputs of quantized weights: batch norm refuses what its statistics cannot hold") {
  for (const std::string name :
       {"QAT_Quantizer", "LsqQuantizer", "DoReFaQuantizer", "BNNQuantizer", "NaiveQuantizer"}) {
    CAPTURE(name);
    LayerNet run(name, config(name, false));
    run.train(1);
    const auto before = run.net->state_dict();
    REQUIRE_THAT(error_of([&] { step(run, 1e25f, 1); }),
                 Catch::Contains("bn (BatchNorm2d") && Catch::Contains("mean and variance") &&
                     Catch::Contains("channel 0") && Catch::Contains("normalise the data"));
    for (const std::string key : {"bn.running_mean", "bn.running_var", "bn.num_batches_tracked"}) {
      const Tensor now = run.net->state_dict().at(key).to(DType::kFloat32);
      REQUIRE(now.to_vector<float>() == before.at(key).to(DType::kFloat32).to_vector<float>());
    }
  }
}
