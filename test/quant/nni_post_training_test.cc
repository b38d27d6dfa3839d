// Where we differ from NNI 2.10 after training: cases G18 and G24 of its golden numbers, which
// test/golden compares.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "quant/observer_quantizer.h"
#include "test/golden/inputs.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using golden::inputs;
using namespace halftone::test;

namespace {

// Conv2d(1, 2, 3) - ReLU6 - Flatten - Linear(18, 3); one channel, so memory is PyTorch's order.
struct Net {
  Net() : model(make<Sequential>(c)) {
    auto conv = make<Conv2d>(c, Conv2dArgs{1, 2, 3});
    auto fc = make<Linear>(c, 18, 3);
    ActivationOptions relu6;
    relu6.kind = Activation::kReLU6;
    model->append("0", conv).append("1", make<ActivationLayer>(c, relu6));
    model->append("2", make<Flatten>(c)).append("3", fc);
    fill(conv->weight, -0.5, 0.6, 1);
    fill(conv->bias, -0.1, 0.1, 3);
    fill(fc->weight, -0.4, 0.3, 2);
    fill(fc->bias, -0.1, 0.1, 5);
  }
  void fill(Variable& v, double lo, double hi, int k) const {
    v.mutable_value().copy_from(Tensor::from(c, v.shape(), inputs(v.value().numel(), lo, hi, k)));
  }
  void quantize(const std::string& name, const std::string& entries = kConfig) {
    QuantizerOptions options;
    options.nni = true;
    quantizer = make_quantizer(name, *model, entries, nullptr, {}, options);
  }
  std::vector<float> run(double lo, double hi, int k) {
    const Tensor x = Tensor::from(c, Shape{2, 5, 5, 1}, inputs(50, lo, hi, k));
    return (*model)(Variable(x)).value().to_vector<float>();
  }
  void calibrate() {
    for (int i = 0; i < 3; ++i) run(-1 - 0.2 * i, 2 + 0.3 * i, 3 + 2 * i);
  }
  static constexpr const char* kConfig = R"([
    {"quant_types": ["weight", "input"], "quant_bits": 8, "op_types": ["Conv2d", "Linear"]},
    {"quant_types": ["output"], "quant_bits": 8, "op_types": ["ReLU6"]}])";

  Context c;
  std::shared_ptr<Sequential> model;
  std::unique_ptr<Quantizer> quantizer;
};

}  // namespace

TEST_CASE("G24, where we differ: weights divided by 127, activations on 8 bits") {
  Net net;
  net.model->eval();
  net.quantizer = make_quantizer("ObserverQuantizer", *net.model, Net::kConfig);
  net.calibrate();
  net.quantizer->compress();
  const auto state = net.model->state_dict();
  Net theirs;
  theirs.model->eval();
  theirs.quantize("ObserverQuantizer");
  theirs.calibrate();
  theirs.quantizer->compress();
  const auto nni = theirs.model->state_dict();
  const auto scale_in = [](const std::map<std::string, Tensor>& s, const std::string& name) {
    return s.at(name + ".scale").item<float>();
  };
  // NNI: 127.5, which clips the largest weight by half a step (O2).
  const float largest = scale_in(nni, "0.weight_fake_quant") * 127.5f / 127.0f;
  CHECK(scale_in(state, "0.weight_fake_quant") == Approx(largest).epsilon(1e-6));
  // NNI: 127 steps (O3); 255 halve the error of every activation.
  CHECK(scale_in(state, "0.input_fake_quant") < 0.6f * scale_in(nni, "0.input_fake_quant"));
}

TEST_CASE("G18: an observer's ranges move on in QAT by the average alone") {
  Net observed, trained;
  observed.model->eval();
  observed.quantize("ObserverQuantizer");
  observed.calibrate();
  observed.quantizer->compress();
  const TempFolder folder;
  observed.quantizer->export_model("", folder / "c.json");
  trained.quantize("QAT_Quantizer");
  trained.quantizer->compress();
  trained.quantizer->load_calibration_config(folder / "c.json");
  const auto high_of = [](Net& net) {
    return net.model->state_dict().at("0.input_fake_quant.max_val").item<float>();
  };
  const float loaded = high_of(observed);
  CHECK(high_of(trained) == loaded);
  // NNI divides by scale 0 here.
  trained.model->eval();
  for (const float v : trained.run(-1, 2, 3)) CHECK(std::isfinite(v));
  CHECK(high_of(trained) == loaded);
  // NNI's first training forward sets the range to the batch's: the file was for nothing.
  trained.model->train();
  trained.run(-1, 2, 3);
  const std::vector<float> batch = golden::inputs(50, -1, 2, 3);
  const float largest = *std::max_element(batch.begin(), batch.end());
  CHECK(largest < 0.9f * loaded);
  CHECK(high_of(trained) == quant_math::ema(loaded, largest, 0.99));
}
