#include "nn/zoo/zoo.h"

#include <catch2/catch.hpp>

#include "nn/layers.h"
#include "nn/losses.h"

namespace halftone {
namespace {

int64_t parameters(const Model& model) {
  int64_t total = 0;
  for (const auto& [name, v] : model->named_parameters()) total += v.shape().numel();
  return total;
}

Model build(const std::string& name, const std::string& variant = "") {
  ModelOptions options;
  options.variant = variant;
  return make_model(name, Context(), options);
}

// The counts are those of the PyTorch originals.
TEST_CASE("networks have as many parameters as the originals") {
  CHECK(parameters(build("lenet5", "plain")) == 61706);
  CHECK(parameters(build("lenet5", "hardtanh")) == parameters(build("lenet5")));
  CHECK(parameters(build("lenet5")) == 61706 + 2 * (6 + 16 + 120 + 84));
  CHECK(parameters(build("nni_mnist")) == 431080);
  CHECK(parameters(build("resnet20")) == 269722);       // akamaster: 0.27 M
  CHECK(parameters(build("mobilenet_v2")) == 2236682);  // torchvision: 3504872 with 1000 classes
  // Convolutions 4574592 and their batch norms 3584; Linear 9447434 (bias in the last), BatchNorm1d
  // 4096.
  CHECK(parameters(build("bnn_vgg")) == 4574592 + 3584 + 8388608 + 1048576 + 10250 + 4096);
  CHECK(parameters(build("bnn_vgg", "pool_last")) ==
        4574592 + 3584 + 8388608 + 1048576 + 10240 + 4096 + 20);
  CHECK(parameters(build("vgg_small")) == 4574592 + 3584 + 81930);
}

TEST_CASE("names are those of the originals") {
  const auto has = [](const Model& model, const std::string& name) {
    INFO(model.name << " " << name);
    CHECK(model->state_dict().count(name) == 1);
  };
  const Model resnet = build("resnet20"), mobilenet = build("mobilenet_v2"), vgg = build("bnn_vgg");
  for (const char* n : {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight",
                        "layer3.2.bn2.weight", "linear.bias"}) {
    has(resnet, n);
  }
  for (const char* n :
       {"features.0.0.weight", "features.0.1.bias", "features.1.conv.0.0.weight",
        "features.1.conv.1.weight", "features.1.conv.2.running_var", "features.2.conv.1.0.weight",
        "features.17.conv.3.bias", "features.18.0.weight", "classifier.1.weight"}) {
    has(mobilenet, n);
  }
  for (const char* n :
       {"features.0.weight", "features.5.weight", "features.17.weight", "features.19.running_mean",
        "classifier.0.weight", "classifier.6.bias", "classifier.7.running_var"}) {
    has(vgg, n);
  }
  CHECK(vgg->state_dict().count("classifier.7.weight") == 0);
  CHECK(vgg->find("features.4")->type_name() == "MaxPool2d");
  CHECK(vgg->find("features.6")->type_name() == "Hardtanh");
  CHECK(dynamic_cast<BatchNorm&>(*vgg->find("features.5")).args().eps == 1e-4f);
  for (const char* n : {"conv1.weight", "fc1.weight", "relu3", "max_pool2"}) {
    const Model nni = build("nni_mnist");
    CHECK((nni->find(n) != nullptr || nni->state_dict().count(n) == 1));
  }
}

TEST_CASE("every network runs forward and backward on its input shape") {
  for (const std::string& name : zoo_names()) {
    INFO(name);
    const Model model = build(name);
    const Context& c = model->context();
    Tensor x = Tensor::empty(c, model.batch_shape(2));
    for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = Philox{3, 1}.normal(i);
    Variable y = (*model.module)(Variable(x));
    CHECK(y.shape() == Shape{2, 10});
    make_loss("cross_entropy")(y, Tensor::from<int64_t>(c, {2}, {1, 7})).backward();
    for (auto& [path, parameter] : model->named_parameters()) {
      INFO(path);
      CHECK(parameter.grad().defined());
    }
  }
}

TEST_CASE("the number of classes and the width are the caller's") {
  ModelOptions options;
  options.num_classes = 100;
  options.width = 0.5;
  const Model model = make_model("mobilenet_v2", Context(), options);
  CHECK(model->state_dict().at("classifier.1.weight").shape() == Shape{100, 1280});
  CHECK(model->state_dict().at("features.0.0.weight").shape() == Shape{16, 3, 3, 3});
}

TEST_CASE("unknown names and options that a network lacks are refused") {
  const auto make = [](const std::string& name, const ModelOptions& options = {}) {
    return make_model(name, Context(), options);
  };
  CHECK_THROWS_WITH(make("resnet_20"), Catch::Contains("did you mean resnet20?"));
  ModelOptions options;
  options.variant = "plian";
  CHECK_THROWS_WITH(make("lenet5", options), Catch::Contains("did you mean plain?"));
  CHECK_THROWS_WITH(make("resnet20", options), Catch::Contains("resnet20 has one form"));
  options = {};
  options.width = 0.5;
  CHECK_THROWS_WITH(make("lenet5", options), Catch::Contains("lenet5 has one size"));
  options = {};
  options.num_classes = 0;
  CHECK_THROWS_WITH(make("lenet5", options), Catch::Contains("num_classes"));
}

}  // namespace
}  // namespace halftone
