// trace(), and the pass that reads its graph.
#include <catch2/catch.hpp>
#include <cstring>

#include "nn/fuse.h"
#include "nn/layers.h"
#include "nn/losses.h"
#include "nn/parameter_store.h"
#include "nn/zoo/zoo.h"

namespace halftone {
namespace {

Variable batch_for(const Model& model, int64_t n, uint64_t stream = 77) {
  const Context& c = model.module->context();
  Tensor x = Tensor::empty(c, model.batch_shape(n));
  const Philox random{11, stream};
  for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = random.normal(i);
  return Variable(x);
}

std::vector<std::string> ops(const Graph& graph) {
  std::vector<std::string> result;
  for (const GraphNode& n : graph.nodes()) result.push_back(n.module_path + " " + n.op);
  return result;
}

TEST_CASE("nothing is fused across a Dropout, which a trace passes by") {
  const Context c;
  const Variable x(Tensor::full(c, {4, 2, 2, 3}, 1.0f));
  Sequential net(c, {make<BatchNorm>(c, 3, 2), make<Dropout>(c, 0.5f), make_relu6(c)});
  CHECK(fuse_layers(net, trace(net, x)).size() == 0);
  Sequential without(c, {make<BatchNorm>(c, 3, 2), make_relu6(c)});
  CHECK(fuse_layers(without, trace(without, x)).size() == 1);
}

TEST_CASE("an evaluation leaves a module that two parents share as it was") {
  const Context c;
  const auto shared = make<BatchNorm>(c, 2, 2);
  Sequential net(c, {make<Sequential>(c, std::vector<ModulePtr>{shared}),
                     make<Sequential>(c, std::vector<ModulePtr>{shared})});
  net.train();
  shared->eval();
  { const EvaluationMode evaluation(net); }
  CHECK_FALSE(shared->training());
  CHECK(net.find("0")->training());
}

TEST_CASE("trace records ops, paths and edges") {
  Context c;
  Sequential net(c, {make<Conv2d>(c, Conv2dArgs{1, 2, 3}), make<BatchNorm>(c, 2, 2), make_relu(c)});
  const Graph graph = trace(net, Variable(Tensor::zeros(c, {1, 4, 4, 1})));
  CHECK(ops(graph) == std::vector<std::string>{"0 conv2d", "1 batch_norm", "2 relu"});
  CHECK(graph.nodes()[0].inputs == std::vector<int>{graph.input()});
  CHECK(graph.nodes()[1].inputs == std::vector<int>{graph.nodes()[0].output});
  CHECK(graph.output() == graph.nodes()[2].output);
  CHECK(graph.version() == net.tree_version());
}

TEST_CASE("a module that runs twice is told apart by its call number") {
  Context c;
  const auto shared = make<Linear>(c, 2, 2);
  Sequential net(c, {shared, shared});
  const Graph graph = trace(net, Variable(Tensor::zeros(c, {1, 2})));
  REQUIRE(graph.nodes().size() == 2);
  CHECK(graph.nodes()[0].module_path == graph.nodes()[1].module_path);
  CHECK(graph.nodes()[0].call == 0);
  CHECK(graph.nodes()[1].call == 1);
}

TEST_CASE("the ops of a root module have no path") {
  Context c;
  Linear root(c, 2, 2);
  const Graph graph = trace(root, Variable(Tensor::zeros(c, {1, 2})));
  CHECK(graph.nodes().at(0).module_path == "");
}

TEST_CASE("trace touches neither state, mode nor executors, also when the forward throws") {
  Context c;
  const Model model = make_model("lenet5", c);
  Module& net = *model.module;
  net.find("bn1")->eval();
  net.find("relu1")->set_executor(
      [](Module&, const std::vector<Variable>& in) { return in.at(0); });
  const auto before = net.state_dict();
  const Graph graph = trace(net, batch_for(model, 2));
  CHECK(graph.nodes()[2].op == "relu");
  CHECK_THROWS_AS(trace(net, Variable(Tensor::zeros(c, {1, 28, 28, 3}))), Error);
  for (const auto& [name, value] : net.state_dict()) {
    INFO(name);
    CHECK(std::memcmp(value.raw(), before.at(name).raw(), value.nbytes()) == 0);
  }
  CHECK(net.training());
  CHECK_FALSE(net.find("bn1")->training());
  CHECK(net.find("relu1")->has_executor());
}

// Loss, all gradients and all state after one training step's forward and backward.
struct StepResult {
  float loss;
  std::vector<float> grads;
  std::map<std::string, Tensor> state;
};

StepResult run_step(const Model& model) {
  ParameterStore store(*model.module);
  const Tensor labels = Tensor::from<int64_t>(model.module->context(), {4}, {1, 0, 2, 3});
  Variable loss = make_loss("cross_entropy")((*model.module)(batch_for(model, 4)), labels);
  loss.backward();
  return {loss.value().item<float>(), store.grads().to_vector<float>(), model.module->state_dict()};
}

void check_same_bits(const StepResult& a, const StepResult& b) {
  CHECK(a.loss == b.loss);
  CHECK(a.grads == b.grads);
  for (const auto& [name, value] : a.state) {
    INFO(name);
    CHECK(std::memcmp(value.raw(), b.state.at(name).raw(), value.nbytes()) == 0);
  }
}

void check_fusion(const std::string& name, const std::string& variant, size_t pairs) {
  INFO(name << " " << variant);
  const auto build = [&] {
    ModelOptions options;
    options.variant = variant;
    return make_model(name, Context(), options);
  };
  const Model plain = build(), model = build();
  FusedLayers fused = fuse_layers(*model.module, trace(*model.module, batch_for(model, 1)));
  CHECK(fused.size() == pairs);
  check_same_bits(run_step(plain), run_step(model));
  fused.unfuse();
  CHECK(fused.size() == 0);
  for (const auto& [path, module] : model.module->named_modules()) {
    CHECK_FALSE(module->has_executor());
  }
  check_same_bits(run_step(plain), run_step(model));
}

TEST_CASE("an activation in its neighbour gives the same bits, fused and again apart") {
  check_fusion("lenet5", "batch_norm", 4);
  check_fusion("lenet5", "plain", 2);  // with the poolings
  check_fusion("resnet20", "", 28);    // ten ReLUs with a batch norm, nine with a sum; nine sums
}

TEST_CASE("a batch norm with an output transform, or whose value has two readers, is not fused") {
  Context c;
  Sequential net(c, {make<BatchNorm>(c, 2, 1), make_relu(c)});
  dynamic_cast<BatchNorm&>(*net.find("0")).output_transform().set("o", make<Identity>(c));
  const Variable x(Tensor::zeros(c, {2, 2}));
  CHECK(fuse_layers(net, trace(net, x)).size() == 0);
  const auto relu = make_relu(c);
  Sequential twice(c, {make<BatchNorm>(c, 2, 1), relu, make<Linear>(c, 2, 2), relu});
  CHECK(fuse_layers(twice, trace(twice, x)).size() == 0);
}

struct NormPlusItself : Module {
  explicit NormPlusItself(const Context& c) : Module(c) {}
  std::string type_name() const override { return "NormPlusItself"; }
  Variable forward(const std::vector<Variable>& inputs) override {
    const Variable y = norm(inputs[0]);
    return (*add.get())({y, y});
  }
  Slot& norm = register_child("norm", make<BatchNorm>(context(), 2, 1));
  Slot& add = register_child("add", make<Add>(context()));
};

TEST_CASE("a sum of one batch norm with itself is not fused") {
  NormPlusItself net{Context()};
  const Variable x(Tensor::zeros(net.context(), {2, 2}));
  CHECK(fuse_layers(net, trace(net, x)).size() == 0);
}

TEST_CASE("a stale graph is refused") {
  Context c;
  Sequential net(c, {make<BatchNorm>(c, 2, 1), make_relu(c)});
  const Graph graph = trace(net, Variable(Tensor::zeros(c, {2, 2})));
  net.children()[1].set(make_sigmoid(c));
  CHECK_THROWS_WITH(fuse_layers(net, graph), Catch::Contains("trace it again"));
}

}  // namespace
}  // namespace halftone
