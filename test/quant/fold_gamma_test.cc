// gamma 0, tiny and negative under every mode of folding: steps, evaluation, files.
#include <catch2/catch.hpp>
#include <cmath>

#include "tensor/safetensors.h"
#include "test/quant/layer_net.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;

namespace {

std::string config(const std::string& mode, const std::string& more = "") {
  return R"([{"quant_types": ["weight", "input"], "quant_bits": 8, "op_types": ["Conv2d", "Linear"],
      "quant_dtype": {"weight": "int"}, "quant_scheme": {"weight": "per_channel_symmetric"},
      "fold": ")" +
         mode + "\"" + more + "}]";
}

const std::vector<float> kGamma = {0.0f, -1.5f, 1e-30f, -0.25f}, kBeta = {0.5f, 0.1f, -0.25f, 0};

void set_norm(LayerNet& run) {
  run.norm->weight.mutable_value().copy_from(Tensor::from(run.context, Shape{4}, kGamma));
  run.norm->bias.mutable_value().copy_from(Tensor::from(run.context, Shape{4}, kBeta));
}

}  // namespace

TEST_CASE("every fold mode: channels of gamma 0 are their beta, in steps, evaluation and files") {
  for (const std::string& mode : fold_mode_names()) {
    for (const std::string name : {"QAT_Quantizer", "LsqQuantizer"}) {
      // The first two steps, and those behind a freeze.
      for (const std::string freeze : {"", R"(, "bn_freeze_step": 3)"}) {
        if (!freeze.empty() && (mode == "nni" || mode == "none")) continue;
        CAPTURE(mode, name, freeze);
        std::string list = config(mode, freeze);
        if (name == "LsqQuantizer")
          list = R"([{"quant_types": ["weight", "input"], "quant_bits": 4, "op_types": ["Conv2d",
              "Linear"], "fold": ")" +
                 mode + "\"" + freeze + "}]";
        const TempFolder folder;
        LayerNet run(name, list, true, Activation::kIdentity),
            other(name, list, true, Activation::kIdentity);
        for (int step = 0; step < 4; ++step) {
          set_norm(run);  // the optimizer moves gamma
          run.train(1);
          for (auto& [key, p] : run.net->named_parameters()) {
            CAPTURE(key);
            if (!p.grad().defined()) continue;
            for (const float g : p.grad().to_vector<float>()) REQUIRE(std::isfinite(g));
          }
        }
        set_norm(run);
        const Variable y = run.evaluate(2);  // conv and batch norm
        // Half a step of the output's codes where it has some; else a step of the bias.
        const float near = y.codes() != nullptr ? 0.51f * y.codes()->params.scale : 1e-5f;
        for (int64_t i = 0; i < y.value().numel(); i += 4) {
          REQUIRE(y.value().data<float>()[i] == Approx(0.5f).margin(near));
          REQUIRE(y.value().data<float>()[i + 2] == Approx(-0.25f).margin(near));
        }
        run.quantizer->export_model(folder / "m", folder / "m.json");
        other.quantizer->load_model(folder / "m");
        REQUIRE(other.logits() == run.logits());
        const TensorFile file = load_safetensors(run.context, folder / "m");
        for (const std::string key : {"conv.integer.folded_bias", "conv.folded_bias"}) {
          if (mode == "none" || file.tensors.count(key) == 0) continue;
          const auto bias = file.tensors.at(key).to_vector<float>();
          REQUIRE((bias[0] == 0.5f && bias[2] == Approx(-0.25f)));
        }
        for (const auto& [key, t] : file.tensors) {
          CAPTURE(key);
          const bool range =
              key.find("min_val") != std::string::npos || key.find("max_val") != std::string::npos;
          if (t.dtype() != DType::kFloat32 || range) continue;
          for (const float v : t.to_vector<float>()) REQUIRE(std::isfinite(v));
        }
      }
    }
  }
}

TEST_CASE("every fold mode: a channel of negative gamma mirrors that of positive gamma") {
  for (const std::string& mode : fold_mode_names()) {
    CAPTURE(mode);
    LayerNet plus("QAT_Quantizer", config(mode), true, Activation::kIdentity),
        minus("QAT_Quantizer", config(mode), true, Activation::kIdentity);
    for (LayerNet* run : {&plus, &minus}) {
      std::vector<float> gamma = {0.5f, 1.5f, 1, 0.25f};
      if (run == &minus)
        for (float& g : gamma) g = -g;
      run->norm->weight.mutable_value().copy_from(Tensor::from(run->context, Shape{4}, gamma));
      run->norm->bias.mutable_value().fill(0);
      const NoGrad no_grad;
      for (int k = 0; k < 2; ++k) {
        (*run->net)(Variable(run->batch(k)));
        run->quantizer->advance_step();
      }
    }
    const auto a = plus.evaluate(2).value().to_vector<float>();
    const auto b = minus.evaluate(2).value().to_vector<float>();
    // Codes of signed and mirrored values; a bias may round to the other side: a step apart.
    float largest = 0;
    for (const float v : a) largest = std::max(largest, std::fabs(v));
    REQUIRE(largest > 0.5f);
    for (size_t i = 0; i < a.size(); ++i) REQUIRE(a[i] == Approx(-b[i]).margin(0.012 * largest));
  }
}
