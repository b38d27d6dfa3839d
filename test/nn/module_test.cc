// The tree: names, slots, versions, train and eval, executors, shared modules.
#include "nn/module.h"

#include <catch2/catch.hpp>

#include "nn/layers.h"

namespace halftone {
namespace {

// Multiplies by a factor: what a transform slot may hold.
class Scale : public Module {
 public:
  Scale(const Context& context, float factor) : Module(context), factor_(factor) {
    register_parameter("gain", gain, Tensor::full(context, {1}, factor));
    register_buffer("seen", Tensor::zeros(context, {2}));
  }
  std::string type_name() const override { return "Scale"; }
  Variable forward(const std::vector<Variable>& inputs) override {
    return scale(inputs.at(0), factor_);
  }
  Variable gain;

 private:
  float factor_;
};

// One linear layer under two names.
class Twice : public Module {
 public:
  explicit Twice(const Context& context) : Module(context) {
    const auto shared = make<Linear>(context, 3, 3);
    register_child("a", shared);
    register_child("b", shared);
  }
  std::string type_name() const override { return "Twice"; }
  Variable forward(const std::vector<Variable>& inputs) override {
    return children()[1](children()[0](inputs.at(0)));
  }
};

std::shared_ptr<Sequential> small_net(const Context& c) {
  auto head = make<Sequential>(c, std::vector<ModulePtr>{make<Flatten>(c), make<Linear>(c, 8, 3)});
  auto net = make<Sequential>(c);
  net->append("conv", make<Conv2d>(c, Conv2dArgs{1, 2, 3}))
      .append("bn", make<BatchNorm>(c, 2, 2))
      .append("head", head);
  return net;
}

std::vector<std::string> names(const std::vector<std::pair<std::string, Variable>>& all) {
  std::vector<std::string> result;
  for (const auto& [name, value] : all) result.push_back(name);
  return result;
}

Variable ones(const Context& c, const Shape& shape) { return Variable(Tensor::full(c, shape, 1)); }

TEST_CASE("modules and parameters are named depth first, in registration order") {
  Context c;
  const auto net = small_net(c);
  std::vector<std::string> modules;
  for (const auto& [name, module] : net->named_modules()) modules.push_back(name);
  CHECK(modules == std::vector<std::string>{"", "conv", "bn", "head", "head.0", "head.1"});
  CHECK(names(net->named_parameters()) == std::vector<std::string>{"conv.weight", "conv.bias",
                                                                   "bn.weight", "bn.bias",
                                                                   "head.1.weight", "head.1.bias"});
  std::vector<std::string> buffers;
  for (const auto& [name, buffer] : net->named_buffers()) buffers.push_back(name);
  CHECK(buffers ==
        std::vector<std::string>{"bn.running_mean", "bn.running_var", "bn.num_batches_tracked"});
}

TEST_CASE("find walks dotted paths; paths are written by refresh_paths") {
  Context c;
  const auto net = small_net(c);
  CHECK(net->find("") == net.get());
  REQUIRE(net->find("head.1") != nullptr);
  CHECK(net->find("head.1")->type_name() == "Linear");
  CHECK(net->find("head.2") == nullptr);
  CHECK(net->find("hea") == nullptr);
  CHECK(net->find("conv.weight") == nullptr);
  refresh_paths(*net);
  CHECK(net->find("head.1")->path() == "head.1");
}

TEST_CASE("a transform's state has the name it was set with") {
  Context c;
  const auto net = small_net(c);
  auto& conv = dynamic_cast<Conv2d&>(*net->find("conv"));
  conv.weight_transform().set("weight_scale", make<Scale>(c, 2.0f));
  conv.output_transform().set("after", make<Scale>(c, 3.0f));
  const auto all = names(net->named_parameters());
  CHECK(std::count(all.begin(), all.end(), "conv.weight_scale.gain") == 1);
  CHECK(std::count(all.begin(), all.end(), "conv.after.gain") == 1);
  CHECK(net->state_dict().count("conv.weight_scale.seen") == 1);
  CHECK(net->find("conv.after")->type_name() == "Scale");
}

TEST_CASE(
    "input, weight and output transforms compute where they stand; empty slots pass through") {
  Context c;
  Linear layer(c, 2, 1, false);
  layer.weight.mutable_value().copy_from(Tensor::from<float>(c, {1, 2}, {3, 5}));
  const Variable x(Tensor::from<float>(c, {1, 2}, {1, 2}));
  CHECK(layer(x).value().item<float>() == 13.0f);
  layer.input_transform().set("i", make<Scale>(c, 2.0f));
  CHECK(layer(x).value().item<float>() == 26.0f);
  layer.weight_transform().set("w", make<Scale>(c, 4.0f));
  CHECK(layer(x).value().item<float>() == 104.0f);
  layer.output_transform().set("o", make<Scale>(c, -1.0f));
  CHECK(layer(x).value().item<float>() == -104.0f);
  layer.input_transform().set(nullptr);
  layer.weight_transform().set(nullptr);
  layer.output_transform().set(nullptr);
  CHECK(layer(x).value().item<float>() == 13.0f);
}

TEST_CASE("replacing a child changes what runs and the version of every tree above") {
  Context c;
  const auto net = small_net(c);
  const uint64_t before = net->tree_version();
  Module& head = *net->find("head");
  head.children()[1].set(make<Linear>(c, 8, 5));
  CHECK(net->tree_version() != before);
  CHECK((*net)(ones(c, {2, 4, 4, 1})).shape() == Shape{2, 5});
  const uint64_t replaced = net->tree_version();
  dynamic_cast<Linear&>(*net->find("head.1")).input_transform().set("s", make<Scale>(c, 1.0f));
  CHECK(net->tree_version() != replaced);
}

TEST_CASE("train and eval reach every module, transforms too") {
  Context c;
  const auto net = small_net(c);
  dynamic_cast<Conv2d&>(*net->find("conv")).weight_transform().set("w", make<Scale>(c, 1.0f));
  net->eval();
  for (const auto& [name, module] : net->named_modules()) CHECK_FALSE(module->training());
  net->train();
  for (const auto& [name, module] : net->named_modules()) CHECK(module->training());
}

TEST_CASE("batch norm counts batches and moves its statistics in training only") {
  Context c;
  BatchNorm norm(c, 1, 1);
  const Variable x(Tensor::from<float>(c, {2, 1}, {1, 3}));
  norm.eval();
  norm(x);
  CHECK(norm.running_mean->item<float>() == 0.0f);
  CHECK(norm.num_batches_tracked->item<int64_t>() == 0);
  norm.train();
  norm(x);
  norm(x);
  CHECK(norm.running_mean->item<float>() == Approx(0.38f));  // 0.1 * 2, then 0.9 * 0.2 + 0.2
  CHECK(norm.num_batches_tracked->item<int64_t>() == 2);
}

TEST_CASE("dropout is the identity in evaluation; in training it drops p and scales the rest") {
  Context c;
  Dropout dropout(c, 0.25f);
  const Variable x = ones(c, {100, 100});
  dropout.eval();
  CHECK(dropout(x).value().to_vector<float>() == x.value().to_vector<float>());
  dropout.train();
  const std::vector<float> y = dropout(x).value().to_vector<float>();
  const auto zeros = std::count(y.begin(), y.end(), 0.0f);
  const auto kept = std::count(y.begin(), y.end(), 1.0f / 0.75f);
  CHECK(zeros + kept == 10000);
  CHECK(std::abs(zeros - 2500) < 200);  // 4.6 standard deviations of the binomial
}

TEST_CASE(
    "an executor runs instead of forward and may fall back to it; the output transform stays") {
  Context c;
  Linear layer(c, 1, 1, false);
  layer.weight.mutable_value().fill(3.0f);
  layer.output_transform().set("o", make<Scale>(c, 10.0f));
  const Variable x = ones(c, {1, 1});
  layer.set_executor([](Module&, const std::vector<Variable>& in) { return in.at(0); });
  CHECK(layer.has_executor());
  CHECK(layer(x).value().item<float>() == 10.0f);
  layer.set_executor(
      [](Module& self, const std::vector<Variable>& in) { return self.forward(in); });
  CHECK(layer(x).value().item<float>() == 30.0f);
  layer.set_executor(nullptr);
  CHECK_FALSE(layer.has_executor());
}

TEST_CASE("a shared module is visited once, and its state stands under each of its names") {
  Context c;
  Twice net(c);
  CHECK(names(net.named_parameters()) == std::vector<std::string>{"a.weight", "a.bias"});
  CHECK(net.find("b") == net.find("a"));
  auto state = net.state_dict();
  CHECK(state.size() == 4);
  CHECK(state.count("b.weight") == 1);
  CHECK_NOTHROW(net.load_state_dict(state));
}

TEST_CASE("gradients of a shared module add up") {
  Context c;
  Twice net(c);
  auto& layer = dynamic_cast<Linear&>(*net.find("a"));
  layer.weight.mutable_value().fill(0.0f);
  for (int i = 0; i < 3; ++i) layer.weight.mutable_value().data<float>()[4 * i] = 1.0f;
  layer.bias.mutable_value().fill(0.0f);
  Variable y = net(ones(c, {1, 3}));
  y.backward(Tensor::full(c, {1, 3}, 1.0f));
  // y = W (W x + b) + b at W = 1: dy/db = W^T 1 + 1 = 2.
  CHECK(layer.bias.grad().to_vector<float>() == std::vector<float>{2, 2, 2});
}

TEST_CASE("names must be single and without dots") {
  Context c;
  Sequential net(c);
  net.append("a", make<Identity>(c));
  CHECK_THROWS_WITH(net.append("a", make<Identity>(c)), Catch::Contains("\"a\" is taken"));
  CHECK_THROWS_WITH(net.append("a.b", make<Identity>(c)), Catch::Contains("without dots"));
}

TEST_CASE("to_string lists the tree as PyTorch prints it") {
  Context c;
  Sequential net(c, {make<Conv2d>(c, Conv2dArgs{1, 6, 5, 1, 2}), make_relu(c),
                     make<Sequential>(c, std::vector<ModulePtr>{make<Linear>(c, 4, 2)})});
  CHECK(to_string(net) ==
        "Sequential(\n"
        "  (0): Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2))\n"
        "  (1): ReLU()\n"
        "  (2): Sequential(\n"
        "    (0): Linear(in_features=4, out_features=2, bias=True)\n"
        "  )\n"
        ")");
}

}  // namespace

TEST_CASE("a layer's gradient slot stands at its result") {
  Context c;
  for (const bool image : {false, true}) {
    ModulePtr layer;
    if (image) {
      layer = make<Conv2d>(c, Conv2dArgs{2, 3, 1});
    } else {
      layer = make<Linear>(c, 2, 3);
    }
    const Variable x = ones(c, image ? Shape{1, 1, 1, 2} : Shape{1, 2});
    const auto before = (*layer)(x).value().to_vector<float>();
    dynamic_cast<WeightLayer&>(*layer).gradient_transform().set("watch", make<Scale>(c, 2.0f));
    const auto after = (*layer)(x).value().to_vector<float>();
    for (size_t i = 0; i < before.size(); ++i) CHECK(after[i] == 2.0f * before[i]);
    CHECK(layer->find("watch") != nullptr);
  }
}

TEST_CASE("a convolution may pad with another value than zero") {
  Context c;
  Conv2d conv(c, Conv2dArgs{1, 1, 3, 1, 1, 1, 1, false});
  conv.weight.mutable_value().fill(1.0f);
  const Variable x(Tensor::from<float>(c, {1, 2, 2, 1}, {10, 20, 30, 40}), true);
  CHECK(conv({x}).value().to_vector<float>() == std::vector<float>(4, 100.0f));
  conv.set_padding_value(-1.0f);
  Variable y = conv({x});
  CHECK(y.value().to_vector<float>() == std::vector<float>(4, 95.0f));  // five pixels of border
  y.backward(Tensor::from<float>(c, {1, 2, 2, 1}, {1, 2, 3, 4}));
  CHECK(x.grad().to_vector<float>() == std::vector<float>(4, 10.0f));
  CHECK(conv.weight.grad().to_vector<float>() ==
        std::vector<float>{34, 107, 53, 136, 300, 134, 52, 103, 31});
  CHECK(conv.describe().find("padding_value=-1") != std::string::npos);
  conv.set_padding_value(0.0f);
  CHECK(conv({x}).value().to_vector<float>() == std::vector<float>(4, 100.0f));
}

}  // namespace halftone
