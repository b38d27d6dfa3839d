// What NNI 2.10 computes (torch 1.13, CPU) for its NaiveQuantizer and ObserverQuantizer, and the
// hand-over to QAT: cases G17, G18, G23 and G24 of its golden numbers, under QuantizerOptions::nni.
#include <catch2/catch.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "quant/naive.h"
#include "quant/observer_quantizer.h"
#include "tensor/safetensors.h"
#include "test/golden/inputs.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using golden::inputs;
using namespace halftone::test;
using Json = nlohmann::json;

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
  Json calibration(const TempFolder& folder) const {
    quantizer->export_model(folder / "model", folder / "c.json");
    return Json::parse(read_bytes(folder / "c.json"));
  }
  static constexpr const char* kConfig = R"([
    {"quant_types": ["weight", "input"], "quant_bits": 8, "op_types": ["Conv2d", "Linear"]},
    {"quant_types": ["output"], "quant_bits": 8, "op_types": ["ReLU6"]}])";

  Context c;
  std::shared_ptr<Sequential> model;
  std::unique_ptr<Quantizer> quantizer;
};

// Behind a convolution: sums in another order.
void check_close(const Json& found, double wanted) {
  CHECK(found.get<double>() == Approx(wanted).epsilon(1e-6).margin(1e-9));
}

}  // namespace

TEST_CASE("G17: what QAT exports after one step") {
  Net net;
  net.quantize("QAT_Quantizer");
  net.quantizer->compress();
  const std::vector<float> y = net.run(-1, 2, 3);
  const TempFolder folder;
  const Json j = net.calibration(folder);
  CHECK(j.at("0").at("weight_bits") == 8);
  CHECK(j.at("0").at("weight_scale") == Json({0.0039247567765414715}));
  CHECK(j.at("0").at("weight_zero_point") == Json({118}));
  CHECK(j.at("0").at("input_bits") == 8);
  CHECK(j.at("0").at("tracked_min_input") == -0.9454582333564758);
  CHECK(j.at("0").at("tracked_max_input") == 1.9906833171844482);
  CHECK(j.at("1").at("output_bits") == 8);
  CHECK(j.at("1").at("tracked_min_output") == 0.0);
  check_close(j.at("1").at("tracked_max_output"), 1.4133607149124146);
  CHECK(j.at("3").at("weight_bits") == 8);
  CHECK(j.at("3").at("weight_scale") == Json({0.002628232352435589}));
  CHECK(j.at("3").at("weight_zero_point") == Json({149}));
  CHECK(j.at("3").at("tracked_min_input") == 0.0);
  check_close(j.at("3").at("tracked_max_input"), 1.4133607149124146);
  const float wanted[] = {-0.9660212993621826f,  -0.5751248002052307f,  -0.48735761642456055f,
                          -0.11200360953807831f, -0.13059166073799133f, -0.5784317255020142f};
  for (int i = 0; i < 6; ++i) CHECK(std::fabs(y[i] - wanted[i]) <= 1e-6f * 0.967f);
  // NNI's keys, all of them; its one counter `steps` is here a state of each quantizer.
  const TensorFile file = load_safetensors(net.c, folder / "model");
  for (const char* key : {"0.bias", "0.weight", "3.bias", "3.weight", "0.weight_fake_quant.steps"})
    CHECK(file.tensors.count(key) == 1);
}

TEST_CASE("G24: what the observers find, and what is exported") {
  Net net;
  net.model->eval();
  net.quantize("ObserverQuantizer");
  net.calibrate();
  net.quantizer->compress();
  const auto state = net.model->state_dict();
  const auto check = [&](const std::string& name, float scale, int zero_point) {
    CAPTURE(name);
    CHECK(state.at(name + ".scale").item<float>() == scale);
    CHECK(state.at(name + ".zero_point").item<int32_t>() == zero_point);
  };
  check("0.weight_fake_quant", 0.004225091077387333f, 0);
  check("0.input_fake_quant", 0.029486259445548058f, 44);
  check("1.activation_post_process", 0.016079304739832878f, 0);
  check("3.weight_fake_quant", 0.0030650279950350523f, 0);
  check("3.input_fake_quant", 0.016079304739832878f, 0);

  const TempFolder folder;
  const Json j = net.calibration(folder);
  const Json wanted = Json::parse(R"({
    "0": {"weight_bits": 8, "tracked_max_weight": 0.536586582660675,
          "tracked_min_weight": -0.536586582660675, "tracked_qmin_weight": -127,
          "tracked_qmax_weight": 127, "input_bits": 8, "tracked_min_input": -1.2973954677581787,
          "tracked_max_input": 2.447359561920166, "tracked_qmin_input": 0,
          "tracked_qmax_input": 127},
    "1": {"output_bits": 8, "tracked_min_output": 0.0, "tracked_max_output": 2.04207181930542,
          "tracked_qmin_output": 0, "tracked_qmax_output": 127},
    "3": {"weight_bits": 8, "tracked_max_weight": 0.38925856351852417,
          "tracked_min_weight": -0.38925856351852417, "tracked_qmin_weight": -127,
          "tracked_qmax_weight": 127, "input_bits": 8, "tracked_min_input": 0.0,
          "tracked_max_input": 2.04207181930542, "tracked_qmin_input": 0,
          "tracked_qmax_input": 127}})");
  for (const auto& [layer, values] : wanted.items()) {
    for (const auto& [key, value] : values.items()) {
      CAPTURE(layer, key);
      CHECK(j.at(layer).at(key) == value);
    }
  }
  const float weight[] = {0.1816789209842682f,  -0.240830197930336f,  0.439409464597702f,
                          0.02112545445561409f, -0.401383638381958f,  0.2788560092449188f,
                          -0.1394280046224594f, 0.536586582660675f,   0.11830255389213562f,
                          -0.2999814748764038f, 0.3802582025527954f,  -0.04225090891122818f,
                          -0.460534930229187f,  0.219704732298851f,   -0.20280437171459198f,
                          0.47743529081344604f, 0.05915127694606781f, -0.3633578419685364f};
  auto& conv = dynamic_cast<WeightLayer&>(*net.model->find("0"));
  const Variable quantized = conv.weight_transform()(conv.weight);
  CHECK(quantized.value().to_vector<float>() == std::vector<float>(weight, weight + 18));
}

TEST_CASE("G24, where we differ: weights divided by 127, activations on 8 bits") {
  Net net;
  net.model->eval();
  net.quantizer = make_quantizer("ObserverQuantizer", *net.model, Net::kConfig);
  net.calibrate();
  net.quantizer->compress();
  const auto state = net.model->state_dict();
  // NNI: 127.5, which clips the largest weight by half a step (O2).
  const float largest = 0.0042250910773873f * 127.5f / 127.0f;
  CHECK(state.at("0.weight_fake_quant.scale").item<float>() == Approx(largest).epsilon(1e-6));
  // NNI: 127 steps (O3); 255 halve the error of every activation.
  CHECK(state.at("0.input_fake_quant.scale").item<float>() < 0.6f * 0.029486259f);
}

TEST_CASE("G18: an observer's ranges move on in QAT by the average alone") {
  Net observed, trained;
  observed.model->eval();
  observed.quantize("ObserverQuantizer");
  observed.calibrate();
  observed.quantizer->compress();
  const TempFolder folder;
  observed.calibration(folder);
  trained.quantize("QAT_Quantizer");
  trained.quantizer->compress();
  trained.quantizer->load_calibration_config(folder / "c.json");
  const auto high = [&] {
    return trained.model->state_dict().at("0.input_fake_quant.max_val").item<float>();
  };
  CHECK(high() == 2.447359561920166f);
  // NNI divides by scale 0 here.
  trained.model->eval();
  for (const float v : trained.run(-1, 2, 3)) CHECK(std::isfinite(v));
  CHECK(high() == 2.447359561920166f);
  // NNI's first training forward sets the range to the batch's, 1.9907: the file was for nothing.
  trained.model->train();
  trained.run(-1, 2, 3);
  CHECK(high() == quant_math::ema(2.447359561920166f, 1.9906833171844482f, 0.99));
}

TEST_CASE("G23: weights cut off towards zero on a scale that never shrinks") {
  const Context c;
  auto net = make<Sequential>(c);
  auto fc = make<Linear>(c, 4, 1, false);
  net->append("fc", fc);
  const auto set = [&](const std::vector<float>& w) {
    fc->weight.mutable_value().copy_from(Tensor::from(c, Shape{1, 4}, w));
  };
  set({1.27f, 0.019f, -0.019f, 0.5f});
  QuantizerOptions options;
  options.nni = true;
  auto quantizer =
      make_quantizer("NaiveQuantizer", *net,
                     R"([{"quant_types": ["weight"], "quant_bits": 8, "op_names": ["fc"]}])",
                     nullptr, {}, options);
  quantizer->compress();
  const auto quantized = [&] {
    return fc->weight_transform()(fc->weight).value().to_vector<float>();
  };
  CHECK(quantized() == std::vector<float>{1.2699999809265137f, 0.009999999776482582f,
                                          -0.009999999776482582f, 0.5f});
  set({0.635f, 0.0095f, -0.0095f, 0.25f});
  CHECK(quantized() == std::vector<float>{0.6299999952316284f, 0.0f, 0.0f, 0.25f});
  CHECK(net->state_dict().at("fc.weight_fake_quant.scale").item<float>() == 0.009999999776482582f);
}
