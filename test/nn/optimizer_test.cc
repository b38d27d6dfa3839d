#include "nn/optimizer.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "nn/layers.h"
#include "test/nn/torch_numbers.h"

namespace halftone {
namespace {

using test::ErrorMeter;
using test::TorchNumbers;

OptimizerOptions options_of(const std::string& name, double lr) {
  OptimizerOptions o;
  o.name = name;
  o.lr = lr;
  return o;
}

// A Linear(4, 3): parameters of the shapes (3, 4) and (3) in the numbers.
struct Fixture {
  Context context;
  Linear model{context, 4, 3};
  TorchNumbers numbers{context, "optimizers"};

  std::vector<Variable> parameters() { return {model.weight, model.bias}; }
  void start(const std::string& name) {
    for (int i = 0; i < 2; ++i) {
      parameters()[i].mutable_value().copy_from(numbers.at(name + "/start/" + std::to_string(i)));
    }
  }
  // Gives parameter i the stored gradient of a step by way of sum(p * g).
  void backward(const std::string& name, int step) {
    for (int i = 0; i < 2; ++i) {
      Variable p = parameters()[i];
      const std::string key = name + "/grad" + std::to_string(step) + "/" + std::to_string(i);
      mul(p, Variable(numbers.at(key))).backward(Tensor::full(context, p.shape(), 1.0f));
    }
  }
};

void check_optimizer(const std::string& name, const OptimizerOptions& options) {
  Fixture f;
  f.start(name);
  ParameterStore store(f.model);
  const auto optimizer = make_optimizer(store, options);
  ErrorMeter meter;
  for (int step = 0; step < 10; ++step) {
    optimizer->zero_grad();
    f.backward(name, step);
    optimizer->step();
    for (int i = 0; i < 2; ++i) {
      const std::string key = name + "/p" + std::to_string(step) + "/" + std::to_string(i);
      meter.check(key, f.parameters()[i].value(), f.numbers.at(key));
    }
  }
}

// A module with one parameter, as a quantizer's learned scale is.
class Scale : public Module {
 public:
  explicit Scale(const Context& context) : Module(context) {
    register_parameter("scale", scale, Tensor::full(context, {1}, 2.0f));
  }
  std::string type_name() const override { return "Scale"; }
  Variable forward(const std::vector<Variable>& inputs) override { return inputs.at(0); }
  Variable scale;
};

TEST_CASE(
    "an optimizer takes in parameters that come later, and keeps what it knows of the others") {
  OptimizerOptions options = options_of("Adam", 1e-2);
  options.weight_decay = 0.1;
  Fixture f, alone;
  for (Fixture* x : {&f, &alone}) x->start("adam");
  ParameterStore store(f.model), store_alone(alone.model);
  const auto optimizer = make_optimizer(store, options),
             other = make_optimizer(store_alone, options);
  const auto step = [](Fixture& x, Optimizer& o, int k) {
    o.zero_grad();
    x.backward("adam", k);
    o.step();
  };
  step(f, *optimizer, 0);
  step(alone, *other, 0);

  const auto scale = make<Scale>(f.context);
  f.model.output_transform().set("quantizer", scale);
  optimizer->take_in(f.model);
  optimizer->add_group({"quantizer.*", std::nullopt, 0.0});
  int steps = 0;
  optimizer->on_step([&] { ++steps; });
  REQUIRE(optimizer->store().entries().back().name == "quantizer.scale");
  step(f, *optimizer, 1);
  step(alone, *other, 1);
  CHECK(steps == 1);
  for (int i = 0; i < 2; ++i)
    CHECK(f.parameters()[i].value().to_vector<float>() ==
          alone.parameters()[i].value().to_vector<float>());
  CHECK(scale->scale.value().item<float>() == 2.0f);  // no gradient so far

  // Without decay the first step of Adam is lr, whatever the gradient.
  optimizer->zero_grad();
  mul(scale->scale, scale->scale).backward(Tensor::full(f.context, {1}, 1.0f));
  optimizer->step();
  CHECK(std::abs(scale->scale.value().item<float>() - 1.99f) < 1e-6f);  // eps of Adam
}

TEST_CASE("a second ParameterStore on one model is noticed by the optimizer of the first") {
  const Context c;
  Linear layer(c, 2, 1, false);
  ParameterStore first(layer);
  auto optimizer = make_optimizer(first, {});
  optimizer->step();
  ParameterStore second(layer);
  REQUIRE_THROWS_WITH(optimizer->step(),
                      Catch::Contains("weight") && Catch::Contains("one ParameterStore"));
  make_optimizer(second, {})->step();
}

TEST_CASE("SGD takes PyTorch's ten steps") {
  OptimizerOptions o = options_of("SGD", 0.1);
  check_optimizer("sgd", o);
  o.weight_decay = 0.05;
  check_optimizer("sgd_decay", o);
  o.weight_decay = 0.01;
  o.momentum = 0.9;
  check_optimizer("sgd_momentum", o);
  o.nesterov = true;
  check_optimizer("sgd_nesterov", o);
  o = options_of("SGD", 0.1);
  o.momentum = 0.8;
  o.dampening = 0.3;
  check_optimizer("sgd_dampening", o);
}

TEST_CASE("Adam and AdamW take PyTorch's ten steps") {
  OptimizerOptions o = options_of("Adam", 0.01);
  check_optimizer("adam", o);
  o.weight_decay = 0.1;
  check_optimizer("adam_decay", o);
  o = options_of("Adam", 0.02);
  o.beta1 = 0.8;
  o.beta2 = 0.95;
  o.eps = 1e-4;
  check_optimizer("adam_betas", o);
  check_optimizer("adamw", options_of("AdamW", 0.01));  // decay 0.01 by default
  o = options_of("AdamW", 0.01);
  o.weight_decay = 0.2;
  check_optimizer("adamw_decay", o);
}

TEST_CASE("a group by pattern has its own learning rate and weight decay") {
  OptimizerOptions o = options_of("SGD", 0.1);
  o.momentum = 0.9;
  o.weight_decay = 0.1;
  o.groups = {{"b?as", 0.03, 0.0}};
  check_optimizer("groups", o);
}

TEST_CASE("a parameter without gradient is left alone, as where PyTorch's grad is None") {
  Fixture f;
  ParameterStore store(f.model);
  OptimizerOptions o = options_of("AdamW", 0.1);
  const auto optimizer = make_optimizer(store, o);
  const std::vector<float> bias = f.model.bias.value().to_vector<float>();
  const std::vector<float> weight = f.model.weight.value().to_vector<float>();
  Variable w = f.model.weight;
  mul(w, w).backward(Tensor::full(f.context, w.shape(), 1.0f));
  optimizer->step();
  CHECK(f.model.bias.value().to_vector<float>() == bias);
  CHECK(f.model.weight.value().to_vector<float>() != weight);
  CHECK(optimizer->state_dict().at("steps").to_vector<int64_t>() == std::vector<int64_t>{1, 0});
}

TEST_CASE("an optimizer restored from its state goes on with the same bits") {
  Fixture a, b;
  OptimizerOptions o = options_of("Adam", 0.01);
  ParameterStore store_a(a.model), store_b(b.model);
  const auto first = make_optimizer(store_a, o), second = make_optimizer(store_b, o);
  const auto step = [](Fixture& f, Optimizer& optimizer, int i) {
    optimizer.zero_grad();
    f.backward("adam", i);
    optimizer.step();
  };
  for (int i = 0; i < 3; ++i) step(a, *first, i);
  b.model.load_state_dict(a.model.state_dict());
  second->load_state_dict(first->state_dict());
  for (int i = 3; i < 6; ++i) {
    step(a, *first, i);
    step(b, *second, i);
  }
  CHECK(a.model.weight.value().to_vector<float>() == b.model.weight.value().to_vector<float>());
  CHECK(a.model.bias.value().to_vector<float>() == b.model.bias.value().to_vector<float>());
}

TEST_CASE("optimizers refuse what they do not have") {
  Fixture f;
  ParameterStore store(f.model);
  const auto message = [&](OptimizerOptions o) {
    try {
      make_optimizer(store, o);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  OptimizerOptions o = options_of("Adm", 0.1);
  CHECK_THAT(message(o), Catch::Contains("did you mean Adam?"));
  o.name = "Adam";
  o.momentum = 0.9;
  CHECK_THAT(message(o), Catch::Contains("Adam has no momentum"));
  o.name = "SGD";
  o.groups = {{"conv*", 0.1, {}}};
  CHECK_THAT(message(o), Catch::Contains("parameters that match \"conv*\""));
  o.groups.clear();
  o.nesterov = true;
  o.dampening = 0.5;
  CHECK_THAT(message(o), Catch::Contains("Nesterov needs momentum and no dampening"));
}

TEST_CASE("the state of another optimizer is refused by name") {
  Fixture f;
  ParameterStore store(f.model);
  const auto adam = make_optimizer(store, options_of("Adam", 0.1));
  const auto sgd = make_optimizer(store, options_of("SGD", 0.1));
  CHECK_THROWS_WITH(adam->load_state_dict(sgd->state_dict()), Catch::Contains("exp_avg"));
  CHECK_THROWS_WITH(sgd->load_state_dict(adam->state_dict()), Catch::Contains("exp_avg"));
}

TEST_CASE("optimizers go by PyTorch's class names, each with a line about it") {
  CHECK(optimizer_names() == std::vector<std::string>{"SGD", "Adam", "AdamW"});
  for (const std::string& name : optimizer_names()) CHECK(optimizer_summary(name).size() > 10);
  CHECK_THROWS_WITH(optimizer_summary("sgd"), Catch::Contains("did you mean SGD?"));
}

}  // namespace
}  // namespace halftone
