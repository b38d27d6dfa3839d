// Five training steps of small networks, step by step as PyTorch took them.
#include <catch2/catch.hpp>

#include "nn/layers.h"
#include "nn/losses.h"
#include "nn/optimizer.h"
#include "nn/zoo/resnet.h"
#include "test/nn/torch_numbers.h"

namespace halftone {
namespace {

void check_training(const std::string& name, Module& model, const OptimizerOptions& options) {
  const test::TorchNumbers numbers(model.context(), "training");
  model.load_state_dict(numbers.under(name + "/start/"));
  ParameterStore store(model);
  const auto optimizer = make_optimizer(store, options);
  const Loss loss_of = make_loss("cross_entropy");
  test::ErrorMeter meter;
  for (int step = 0; step < 5; ++step) {
    const std::string n = std::to_string(step);
    optimizer->zero_grad();
    Variable loss =
        loss_of(model(Variable(numbers.nhwc(name + "/x" + n))), numbers.at(name + "/labels" + n));
    meter.check(name + "/loss" + n, loss.value().reshape({}), numbers.at(name + "/loss" + n));
    loss.backward();
    optimizer->step();
  }
  const auto end = model.state_dict();
  for (const auto& [key, wanted] : numbers.under(name + "/end/")) {
    meter.check(name + "/end/" + key, end.at(key), wanted);
  }
}

ModulePtr small_cnn(const Context& c) {
  return make<Sequential>(
      c, std::vector<ModulePtr>{make<Conv2d>(c, Conv2dArgs{2, 4, 3, 1, 1, 1, 1, false}),
                                make<BatchNorm>(c, 4, 2), make_relu(c),
                                make<MaxPool2d>(c, pool_options(2)), make<Flatten>(c),
                                make<Linear>(c, 36, 3)});
}

TEST_CASE("a small network trains as in PyTorch: SGD with momentum") {
  Context context;
  OptimizerOptions o;
  o.name = "SGD";
  o.lr = 0.05;
  o.momentum = 0.9;
  o.weight_decay = 1e-3;
  check_training("cnn_sgd", *small_cnn(context), o);
}

TEST_CASE("a small network trains as in PyTorch: Adam") {
  Context context;
  OptimizerOptions o;
  o.lr = 0.01;
  check_training("cnn_adam", *small_cnn(context), o);
}

TEST_CASE("two residual blocks train as in PyTorch") {
  Context c;
  Sequential net(c, {make<BasicBlock>(c, 4, 8, 2), make<BasicBlock>(c, 8, 8, 1),
                     make<AdaptiveAvgPool2d>(c, 1, 1), make<Flatten>(c), make<Linear>(c, 8, 3)});
  OptimizerOptions o;
  o.name = "SGD";
  o.lr = 0.05;
  o.momentum = 0.9;
  check_training("resnet", net, o);
}

}  // namespace
}  // namespace halftone
