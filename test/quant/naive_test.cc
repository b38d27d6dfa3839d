#include "quant/naive.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "data/loader.h"
#include "nn/optimizer.h"
#include "nn/zoo/zoo.h"
#include "tensor/safetensors.h"
#include "test/quant/chain_oracle.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;

namespace {

const char* const kConfig =
    R"([{"quant_types": ["weight"], "quant_bits": 8, "op_types": ["Linear", "Conv2d"]}])";

// A Linear without bias and its quantized weight.
struct One {
  explicit One(const std::vector<float>& weight, bool nni = false)
      : net(make<Sequential>(c)),
        layer(make<Linear>(c, static_cast<int>(weight.size()), 1, false)) {
    net->append("fc", layer);
    set(weight);
    QuantizerOptions options;
    options.nni = nni;
    quantizer = make_quantizer("NaiveQuantizer", *net, kConfig, nullptr, {}, options);
    quantizer->compress();
  }
  void set(const std::vector<float>& weight) {
    layer->weight.mutable_value().copy_from(
        Tensor::from(c, Shape{1, static_cast<int64_t>(weight.size())}, weight));
  }
  FakeQuantize& point() { return *quantizer->points().at(0).quantizer; }
  std::vector<float> forward() { return point()(layer->weight).value().to_vector<float>(); }
  float scale() { return point().grids(2).list[0].scale; }

  Context c;
  std::shared_ptr<Sequential> net;
  std::shared_ptr<Linear> layer;
  std::unique_ptr<Quantizer> quantizer;
};

const std::vector<float> kFirst = {1.27f, 0.019f, -0.019f, 0.5f};
const std::vector<float> kHalf = {0.635f, 0.0095f, -0.0095f, 0.25f};

}  // namespace

TEST_CASE("weights are rounded on their current range") {
  One one(kFirst);
  const float s = 1.27f / 127.0f;
  REQUIRE(one.forward() == std::vector<float>{127 * s, 2 * s, -2 * s, 50 * s});
  one.set(kHalf);
  const float half = 0.635f / 127.0f;
  REQUIRE(one.forward() == std::vector<float>{127 * half, 2 * half, -2 * half, 50 * half});
  REQUIRE(one.scale() == half);
  one.net->eval();  // what the last training forward left
  one.set(kFirst);
  REQUIRE(one.forward()[0] == 127 * half);
  REQUIRE(one.scale() == half);
}

TEST_CASE("a trained network is quantized at once, and exports its codes") {
  One one(kFirst);
  one.net->eval();
  REQUIRE(one.point().initialised());
  REQUIRE(one.forward()[1] == 2.0f * (1.27f / 127.0f));
  const TempFolder folder;
  one.quantizer->export_model(folder / "a", folder / "a.json");
  const TensorFile file = load_safetensors(one.c, folder / "a");
  REQUIRE(file.tensors.at("fc.weight_codes").to_vector<int32_t>() ==
          std::vector<int32_t>{127, 2, -2, 50});
  REQUIRE(file.tensors.at("fc.weight_scale").item<float>() == 1.27f / 127.0f);
  REQUIRE(one.quantizer->integer_obstacle("fc") == "no quantized input reaches it");
}

TEST_CASE("gradient: straight through, on the whole range") {
  One one(kFirst);
  Variable y =
      (*one.net)(Variable(Tensor::from(one.c, Shape{1, 4}, std::vector<float>{1, 2, 3, 4})));
  y.backward(Tensor::full(one.c, {1, 1}, 2.0f));
  REQUIRE(one.layer->weight.grad().to_vector<float>() == std::vector<float>{2, 4, 6, 8});
}

TEST_CASE("compat nni: truncated codes, a scale that never shrinks, and the identity gradient") {
  One one(kFirst, true);
  const float s = 1.27f / 127.0f;
  REQUIRE(one.forward() == std::vector<float>{127 * s, s, -s, 50 * s});
  one.set(kHalf);
  REQUIRE(one.forward() == std::vector<float>{63 * s, 0, 0, 25 * s});
  REQUIRE(one.scale() == s);
  REQUIRE(one.point().codes(one.layer->weight.value()).to_vector<int32_t>() ==
          std::vector<int32_t>{63, 0, 0, 25});
  // Evaluation raises the scale as training does.
  one.net->eval();
  one.set({5.0f, -5.0f, 0.0f, 0.05f});
  Variable y = one.point()(one.layer->weight);
  const float larger = 5.0f / 127.0f;
  REQUIRE(one.scale() == larger);
  REQUIRE(y.value().to_vector<float>() ==
          std::vector<float>{127 * larger, -127 * larger, 0, larger});
  y.backward(Tensor::from(one.c, Shape{1, 4}, std::vector<float>{1, 2, 3, 4}));
  REQUIRE(one.layer->weight.grad().to_vector<float>() == std::vector<float>{1, 2, 3, 4});
}

TEST_CASE("zero, constant, huge and denormal weights; NaN is refused") {
  for (const bool nni : {false, true}) {
    for (const std::vector<float>& w :
         std::vector<std::vector<float>>{{0, 0}, {0.7f}, {-3e38f, 3e38f}, {1e-40f, -1e-40f}}) {
      One one(w, nni);
      for (const float v : one.forward()) REQUIRE(std::isfinite(v));
    }
    One one(kFirst, nni);
    one.set({1.0f, NAN, 0, 0});
    REQUIRE_THROWS_WITH(one.forward(), Catch::Contains("NaN"));
    REQUIRE(one.scale() == 1.27f / 127.0f);
  }
}

TEST_CASE("LeNet-5 learns generated digits, and NNI's truncation learns them too") {
  for (const bool nni : {false, true}) {
    const Context c({{}, 2, 3});
    Model model = make_model("lenet5", c);
    ParameterStore store(*model.module);
    const auto optimizer = make_optimizer(store, {});
    QuantizerOptions options;
    options.nni = nni;
    auto quantizer = make_quantizer("NaiveQuantizer", *model.module, kConfig, optimizer.get(),
                                    Tensor::zeros(c, model.batch_shape(1)), options);
    quantizer->compress();
    DatasetOptions data;
    data.limit = 64 * 40;
    LoaderOptions loading;
    Loader loader(
        c,
        std::make_shared<const Dataset>(load_dataset(c, "generated-digits", Split::kTrain, data)),
        loading);
    float first = 0, last = 0;
    for (int step = 0; step < 40; ++step) {
      const Batch batch = loader.next();
      optimizer->zero_grad();
      Variable loss = cross_entropy((*model.module)(Variable(batch.images)), batch.labels);
      loss.backward();
      optimizer->step();
      last = loss.value().item<float>();
      if (step == 0) first = last;
    }
    CAPTURE(nni, first, last);
    REQUIRE(last < 0.5f * first);
  }
}

TEST_CASE("only weights, only 8 bits") {
  const Context c;
  Model model = make_model("lenet5", c);
  const auto what = [&](const std::string& entry) {
    try {
      make_quantizer("NaiveQuantizer", *model.module, "[" + entry + "]")->compress();
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK_THAT(what(R"({"quant_types": ["input"], "quant_bits": 8, "op_types": ["Linear"]})"),
             Catch::Contains("quant_types") && Catch::Contains("weight"));
  CHECK_THAT(what(R"({"quant_types": ["weight"], "quant_bits": 4, "op_types": ["Linear"]})"),
             Catch::Contains("quant_bits") && Catch::Contains("expected 8"));
}
