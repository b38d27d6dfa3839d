// What every registered quantizer makes of values at the edge, and of a layer that runs twice.
#include <catch2/catch.hpp>
#include <cmath>

#include "autograd/ops.h"
#include "test/quant/every_quantizer.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;

namespace {

// A quantized network of the caller's, its weights and inputs all of one value where asked.
struct AnyRun {
  AnyRun(const std::string& name, std::shared_ptr<Module> module, const Tensor& x,
         const std::string& last)
      : net(std::move(module)), batch(x) {
    store = std::make_unique<ParameterStore>(*net);
    optimizer = make_optimizer(*store, {});
    net->eval();
    const auto any = make_quantizer(name, *net, "[]");
    quantizer = make_quantizer(name, *net, config_for(*any, EveryNet::kDefaults, last),
                               optimizer.get(), x.slice(0, 1));
    for (int k = 0; k < 2 && quantizer->needs_calibration(); ++k) (*net)(Variable(batch));
    quantizer->compress();
    net->train();
  }
  float step() {
    optimizer->zero_grad();
    const Variable y = (*net)(Variable(batch));
    Variable loss = mse_loss(y, Tensor::full(net->context(), y.shape(), 0.5f));
    loss.backward();
    optimizer->step();
    return loss.value().item<float>();
  }
  std::vector<float> evaluate() {
    const EvaluationMode evaluation(*net);
    const NoGrad no_grad;
    return (*net)(Variable(batch)).value().to_vector<float>();
  }
  // Nothing is NaN or infinite but a range that nobody has seen anything of.
  void check_finite() {
    for (const float v : evaluate()) REQUIRE(std::isfinite(v));
    for (const auto& [name, t] : net->state_dict()) {
      CAPTURE(name);
      const bool range =
          name.find(".min_val") != std::string::npos || name.find(".max_val") != std::string::npos;
      if (t.dtype() != DType::kFloat32 || range) continue;
      for (const float v : t.to_vector<float>()) REQUIRE(std::isfinite(v));
    }
  }
  void run() {
    check_finite();  // evaluation before any step
    for (int k = 0; k < 3; ++k) REQUIRE(std::isfinite(step()));
    check_finite();
    const auto y = evaluate();
    REQUIRE(evaluate() == y);
  }

  std::shared_ptr<Module> net;
  Tensor batch;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Quantizer> quantizer;
};

std::shared_ptr<Sequential> small(const Context& c) {
  auto net = make<Sequential>(c);
  net->append("conv", make<Conv2d>(c, Conv2dArgs{2, 3, 3, 1, 1}))
      .append("bn", make<BatchNorm>(c, 3, 2))
      .append("relu", make_relu(c))
      .append("flatten", make<Flatten>(c))
      .append("fc", make<Linear>(c, 3 * 4 * 4, 2));
  return net;
}

void set_weights(Module& net, float value) {
  for (const char* layer : {"conv", "fc"})
    dynamic_cast<WeightLayer&>(*net.find(layer)).weight.mutable_value().fill(value);
}

// shared(relu(shared(x))), then a layer of its own.
struct Twice : Module {
  explicit Twice(const Context& c) : Module(c) {
    register_child("shared", make<Linear>(c, 4, 4));
    register_child("relu", make_relu(c));
    register_child("last", make<Linear>(c, 4, 2));
  }
  std::string type_name() const override { return "Twice"; }
  Variable forward(const std::vector<Variable>& in) override {
    auto& child = children();
    const Variable first = child[0](in.at(0)), second = child[0](child[1](first));
    return child[2](add(first, second));
  }
};

}  // namespace

TEST_CASE("every quantizer stays finite with weights and inputs that are all zero, or constant") {
  for_every_quantizer([](const std::string& name) {
    const Context c(two_threads(5));
    for (const float weight : {0.0f, 0.25f, -1.0f, 1e-42f}) {
      for (const float input : {0.0f, 1.0f, -0.5f, 1e-42f}) {
        CAPTURE(weight, input);
        auto net = small(c);
        set_weights(*net, weight);
        AnyRun(name, net, Tensor::full(c, {3, 4, 4, 2}, input), "fc").run();
      }
    }
  });
}

TEST_CASE("every quantizer takes tensors of one element") {
  for_every_quantizer([](const std::string& name) {
    const Context c(two_threads(5));
    for (const float input : {0.75f, -2.0f, 0.0f}) {
      CAPTURE(input);
      auto net = make<Sequential>(c);
      net->append("a", make<Linear>(c, 1, 1)).append("b", make<Linear>(c, 1, 1));
      AnyRun(name, net, Tensor::full(c, {1, 1}, input), "b").run();
    }
  });
}

TEST_CASE("every quantizer quantizes a layer that two paths share, at both") {
  for_every_quantizer([](const std::string& name) {
    const TempFolder folder;
    const Context c(two_threads(5));
    const Tensor x = spread(c, {5, 4}, -1, 1.2f, 3);
    AnyRun run(name, make<Twice>(c), x, "last");
    const auto before = run.net->state_dict().at("shared.weight").to_vector<float>();
    run.run();
    REQUIRE(run.net->state_dict().at("shared.weight").to_vector<float>() != before);
    size_t weights = 0;
    for (const QuantPoint& p : run.quantizer->points())
      weights += p.module == "shared" && p.type == QuantType::kWeight;
    REQUIRE(weights == 1);
    // One weight, one gradient: of both uses. Its export is the weight, once.
    run.quantizer->export_model(folder / "m", folder / "m.json");
    AnyRun other(name, make<Twice>(c), x, "last");
    other.quantizer->load_model(folder / "m");
    REQUIRE(other.evaluate() == run.evaluate());
  });
}
