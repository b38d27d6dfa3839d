// Batch-norm folding: where it happens, what it reports and exports.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>

#include "autograd/ops.h"
#include "nn/zoo/zoo.h"
#include "quant/quantizer.h"
#include "tensor/safetensors.h"
#include "test/quant/fold_net.h"
#include "test/quant/lenet_run.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;

namespace {

// conv feeds bn and, in `skips`, an addition as well.
struct Forked : Module {
  Forked(const Context& c, bool skips) : Module(c), skips(skips) {
    conv = make<Conv2d>(c, Conv2dArgs{2, 3, 3, 1, 1});
    norm = make<BatchNorm>(c, 3, 2);
    register_child("conv", conv);
    register_child("bn", norm);
    add = &register_child("add", make<Add>(c));
  }
  std::string type_name() const override { return "Forked"; }
  Variable forward(const std::vector<Variable>& in) override {
    const Variable v = (*conv)(in.at(0));
    const Variable y = (*norm)(v);
    return skips ? (*add->get())({y, v}) : y;
  }
  bool skips;
  std::shared_ptr<Conv2d> conv;
  std::shared_ptr<BatchNorm> norm;
  Slot* add;
};

// As a fresh batch norm does in training.
Tensor normalised_by_channel(const Tensor& v) {
  Tensor out = v.clone();
  const int64_t channels = v.dim(-1), rows = v.numel() / channels;
  for (int64_t k = 0; k < channels; ++k) {
    double sum = 0, squares = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const double value = v.data<float>()[r * channels + k];
      sum += value, squares += value * value;
    }
    const double n = static_cast<double>(rows), mean = sum / n;
    const double sigma = std::sqrt(squares / n - mean * mean + 1e-5);
    for (int64_t i = k; i < v.numel(); i += channels)
      out.data<float>()[i] = static_cast<float>((v.data<float>()[i] - mean) / sigma);
  }
  return out;
}

}  // namespace

TEST_CASE("no fold where the convolution has a second consumer, or its weight is not quantized") {
  const Context c(two_threads());
  for (const std::string mode : kModes) {
    CAPTURE(mode);
    const auto forked = make<Forked>(c, true);
    auto q = make_quantizer("QAT_Quantizer", *forked, config_of(mode), nullptr,
                            Tensor::zeros(c, {1, 4, 4, 2}));
    q->compress();
    REQUIRE(q->chains().at(0)->norm == nullptr);
    const Variable x(spread(c, {2, 4, 4, 2}, -1, 2, 5));
    const Tensor y = (*forked)(x).value();
    REQUIRE(forked->norm->num_batches_tracked->item<int64_t>() == 1);
    // The skip carries the convolution itself: y = bn(v) + v.
    forked->eval();
    Conv2d& conv = *forked->conv;
    const Tensor v =
        conv.operate(conv.input_transform()(x), conv.weight_transform()(conv.weight), conv.bias)
            .value();
    const Tensor normalised = normalised_by_channel(v);
    REQUIRE(y.numel() == v.numel());
    // Half a step of an int32 bias, and float roundings.
    for (int64_t i = 0; i < v.numel(); ++i)
      REQUIRE(y.data<float>()[i] ==
              Approx(normalised.data<float>()[i] + v.data<float>()[i]).epsilon(1e-4).margin(1e-3));
  }
  // Only its output is quantized: batch norm stays, and normalises.
  const auto plain = make<Forked>(c, false);
  plain->norm->bias.mutable_value().fill(3.0f);
  auto q =
      make_quantizer("QAT_Quantizer", *plain,
                     R"([{"quant_types": ["output"], "quant_bits": 8, "op_types": ["Conv2d"]}])",
                     nullptr, Tensor::zeros(c, {1, 4, 4, 2}));
  q->compress();
  const Tensor y = (*plain)(Variable(spread(c, {2, 4, 4, 2}, -1, 2, 5))).value();
  double mean = 0;
  for (const float v : y.to_vector<float>()) mean += static_cast<double>(v) / y.numel();
  REQUIRE(mean == Approx(3.0).epsilon(1e-5));
}

TEST_CASE("fold without a quantized weight, and unknown modes, are refused by name") {
  const Context c;
  Model model = make_model("lenet5", c);
  const auto compress = [&](const std::string& config) {
    make_quantizer("QAT_Quantizer", *model.module, config)->compress();
  };
  REQUIRE_THROWS_WITH(compress(config_of("batchnorm")),
                      Catch::Contains("entry 1, fold") && Catch::Contains("\"ema\""));
  REQUIRE_THROWS_WITH(
      compress(R"([{"quant_types": ["output"], "quant_bits": 8, "op_types": ["ReLU"],
                    "fold": "ema"}])"),
      Catch::Contains("fold") && Catch::Contains("quant_types is without weight"));
}

TEST_CASE("fold report: every folded layer, and a difference of rounding only") {
  for (const std::string mode : {"scale", "batch", "ema", "nni"}) {
    for (const bool integer : {true, false}) {
      CAPTURE(mode, integer);
      Run run(config_of(mode), 0, integer);
      for (int k = 0; k < 3; ++k) run.step(k);
      const auto before = run.evaluate();
      const auto report =
          run.quantizer->fold_report(spread(run.context, run.model.batch_shape(3), -1, 2));
      REQUIRE(report.size() == 4);
      for (const FoldReport& r : report) {
        REQUIRE(r.norm.substr(0, 2) == "bn");
        REQUIRE(r.magnitude > 0.1f);
        // Half a step of the int32 bias, and a few float roundings.
        REQUIRE(r.difference <= 1e-3f * r.magnitude);
        REQUIRE(r.difference > 0);
      }
      REQUIRE(run.evaluate() == before);
    }
  }
}

TEST_CASE("fold report: a layer that no codes reach, too") {
  ConvNorm n(kWeightOnly);
  const Tensor x = spread(n.c, {2, 4, 4, 2}, -1, 2);
  (*n.net)(Variable(x));
  n.q->advance_step();
  const auto report = n.q->fold_report(x);
  REQUIRE(report.size() == 1);
  REQUIRE((report[0].layer == "conv" && report[0].norm == "bn"));
  REQUIRE((report[0].magnitude > 0.1f && report[0].difference <= 1e-5f * report[0].magnitude));
}

TEST_CASE("statistics re-estimated: the averages of the batches; the quantizers stay") {
  for (const std::string mode : kModes) {
    for (const bool integer : {true, false}) {
      CAPTURE(mode, integer);
      Run run(config_of(mode, freeze_at(mode, 2)), 0, integer);
      for (int k = 0; k < 3; ++k) run.step(k);
      const auto before = run.model->state_dict();
      const float momentum = dynamic_cast<BatchNorm&>(*run.model->find("bn1")).args().momentum;
      std::vector<Tensor> batches;
      for (int k = 0; k < 4; ++k)
        batches.push_back(spread(run.context, run.model.batch_shape(6), -0.4f, 2.8f, 31 + 2 * k));
      // The first batch norm sees the same inputs whatever the statistics: its mean is the mean of
      // what single batches give.
      std::vector<double> mean(6);
      for (const Tensor& batch : batches) {
        run.quantizer->reestimate_statistics({batch});
        for (int c = 0; c < 6; ++c)
          mean[c] += run.model->state_dict().at("bn1.running_mean").data<float>()[c] / 4.0;
      }
      run.quantizer->reestimate_statistics(batches);
      const auto after = run.model->state_dict();
      for (int c = 0; c < 6; ++c)  // the range of folded weights moves with the statistics
        REQUIRE(after.at("bn1.running_mean").data<float>()[c] == Approx(mean[c]).margin(2e-3));
      REQUIRE(dynamic_cast<BatchNorm&>(*run.model->find("bn1")).args().momentum == momentum);
      const bool moves = mode != "scale" && mode != "none";
      for (const auto& [name, value] : before) {
        // Folded weights move with the statistics, and so do their ranges, but no learned scale.
        if (name.find("bn") == 0 || (moves && name.find("weight_fake_quant") != std::string::npos))
          continue;
        CAPTURE(name);
        REQUIRE(std::memcmp(value.raw(), after.at(name).raw(), value.nbytes()) == 0);
      }
      REQUIRE(run.model->training());
      for (const float v : run.evaluate()) REQUIRE(std::isfinite(v));
    }
  }
  Run run(config_of("scale"));
  REQUIRE_THROWS_WITH(run.quantizer->reestimate_statistics({}),
                      Catch::Contains("at least one batch"));
}

TEST_CASE("statistics re-estimated: learned scales stay") {
  for (const char* mode : {"batch", "ema", "nni", "scale"}) {
    CAPTURE(mode);
    LenetRun run("LsqQuantizer",
                 R"([{"quant_types": ["weight", "input"], "quant_bits": 8, "fold": ")" +
                     std::string(mode) + R"(", "op_types": ["Conv2d", "Linear"]}])");
    for (int k = 0; k < 3; ++k) run.step(k);
    const auto before = run.model->state_dict();
    run.quantizer->reestimate_statistics(
        {spread(run.context, run.model.batch_shape(6), -0.4f, 2.8f, 31)});
    const auto after = run.model->state_dict();
    int scales = 0;
    for (const auto& [name, value] : before) {
      if (name.find("fake_quant.scale") == std::string::npos) continue;
      ++scales;
      CAPTURE(name);
      REQUIRE(std::memcmp(value.raw(), after.at(name).raw(), value.nbytes()) == 0);
    }
    REQUIRE(scales >= 4);
  }
}

TEST_CASE("export: float master weights, batch norm apart, and the folded layer") {
  for (const std::string mode : {"batch", "nni", "scale"}) {
    CAPTURE(mode);
    Run run(config_of(mode), 0, false);
    for (int k = 0; k < 2; ++k) run.step(k);
    const TempFolder folder;
    run.quantizer->export_model(folder / "a.safetensors");
    const auto t = load_safetensors(run.context, folder / "a.safetensors").tensors;
    const auto state = run.model->state_dict();
    const Tensor &w = t.at("conv1.weight"), &folded = t.at("conv1.folded_weight");
    REQUIRE(w.to_vector<float>() == state.at("conv1.weight").to_vector<float>());
    REQUIRE(t.count("bn1.running_var") == 1);
    for (int64_t i = 0; i < w.numel(); ++i) {
      const int64_t c = i / (w.numel() / w.dim(0));
      const auto at = [&](const char* name) {
        return static_cast<double>(t.at(name).data<float>()[c]);
      };
      const double ratio = at("bn1.weight") / std::sqrt(at("bn1.running_var") + 1e-5);
      REQUIRE(folded.data<float>()[i] == Approx(w.data<float>()[i] * ratio).epsilon(1e-6));
      REQUIRE(at("conv1.folded_bias") ==
              Approx(at("bn1.bias") + ratio * (at("conv1.bias") - at("bn1.running_mean")))
                  .margin(1e-6));
      // Codes of the folded weight, or of the raw one; the optimizer has moved it since the scale.
      const std::string coded = mode == "scale" ? "conv1.weight" : "conv1.folded_weight";
      REQUIRE(t.count(mode == "scale" ? "conv1.folded_weight_codes" : "conv1.weight_codes") == 0);
      const double step = t.at(coded + "_scale").data<float>()[c];
      const double real = step * t.at(coded + "_codes").data<int32_t>()[i];
      REQUIRE(std::fabs(real - static_cast<double>(t.at(coded).data<float>()[i])) <= 1.5 * step);
    }
  }
}

TEST_CASE("a dead channel does not widen a range of the whole tensor") {
  const char* per_tensor = R"([{"quant_types": ["weight"], "quant_bits": 8, "op_types": ["Conv2d"],
    "quant_dtype": "int", "quant_scheme": "per_tensor_symmetric", "fold": "batch"}])";
  ConvNorm alive(per_tensor), dead(per_tensor);
  for (ConvNorm* n : {&alive, &dead}) n->norm->running_var->fill(100.0f);  // factors of a tenth
  dead.conv->weight.mutable_value().copy_from(alive.conv->weight.value());
  dead.norm->weight.mutable_value().data<float>()[1] = 0.0f;
  for (ConvNorm* n : {&alive, &dead}) (*n->net)(Variable(spread(n->c, {2, 4, 4, 2}, -1, 1)));
  const auto scale = [](const ConvNorm& n) {
    return n.q->points().at(0).quantizer->grids(4).list.at(0).scale;
  };
  // Each channel's variance has moved by its own batch: a little more than the channel's own
  // factor.
  REQUIRE(scale(dead) <= 1.01f * scale(alive));
}

TEST_CASE("after a forward that throws fold_report and reestimate_statistics leave no trace") {
  ConvNorm n(config_of("batch"));
  n.norm->eval();  // frozen by its owner
  const Tensor good = spread(n.c, {2, 4, 4, 2}, -1, 1), bad = Tensor::zeros(n.c, {2, 4, 4, 5});
  const float momentum = n.norm->args().momentum;
  REQUIRE_THROWS(n.q->fold_report(bad));
  REQUIRE_THROWS(n.q->reestimate_statistics({good, bad}));
  CHECK(n.norm->args().momentum == momentum);
  CHECK_FALSE(n.norm->training());
  CHECK(n.net->training());
  for (const ChainPtr& chain : n.q->chains()) CHECK_FALSE(chain->probe);
}
