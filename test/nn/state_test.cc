// state_dict and its strict inverse.
#include <catch2/catch.hpp>

#include "nn/layers.h"
#include "nn/zoo/zoo.h"

namespace halftone {
namespace {

// Holds what a layer without weights may have to keep: a buffer whose size the data decides.
class Ranges : public Module {
 public:
  explicit Ranges(const Context& c)
      : Module(c), low(register_buffer("low", Tensor::zeros(c, {0}))) {}
  std::string type_name() const override { return "Ranges"; }
  Variable forward(const std::vector<Variable>& inputs) override { return inputs.at(0); }
  Tensor& low;
};

std::string message_of(Module& model, const std::map<std::string, Tensor>& state) {
  try {
    model.load_state_dict(state);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST_CASE("a parameter assigned to another layer's member is shared everywhere") {
  const Context c;
  Sequential net(c, {make<Linear>(c, 2, 2), make<Linear>(c, 2, 2, false)});
  auto &a = dynamic_cast<Linear&>(*net.find("0")), &b = dynamic_cast<Linear&>(*net.find("1"));
  b.weight = a.weight;
  REQUIRE(net.named_parameters().size() == 2);
  auto state = net.state_dict();
  REQUIRE(state.at("1.weight").to_vector<float>() == a.weight.value().to_vector<float>());
  state.at("0.weight").fill(3.0f);
  state.at("1.weight").fill(3.0f);
  net.load_state_dict(state);
  REQUIRE(b.weight.value().data<float>()[3] == 3.0f);
}

TEST_CASE("convolution weights are OIHW in the state, O kh kw I in memory") {
  Context c;
  Conv2d conv(c, Conv2dArgs{2, 1, 2, 1, 0, 1, 1, true, 3});  // kernel 2 x 3
  std::vector<float> memory(12);
  for (size_t i = 0; i < 12; ++i) memory[i] = static_cast<float>(i);
  conv.weight.mutable_value().copy_from(Tensor::from<float>(c, {1, 2, 3, 2}, memory));
  const auto state = conv.state_dict();
  CHECK(state.at("weight").shape() == Shape{1, 2, 2, 3});
  CHECK(state.at("weight").to_vector<float>() ==
        std::vector<float>{0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11});
  Conv2d other(c, Conv2dArgs{2, 1, 2, 1, 0, 1, 1, true, 3});
  other.load_state_dict(state);
  CHECK(other.weight.value().to_vector<float>() == memory);
}

TEST_CASE("the state is a copy and loads into another model") {
  Context c;
  const Model a = make_model("lenet5", c), b = make_model("lenet5", c);
  const auto state = a->state_dict();
  b->load_state_dict(state);
  a->named_parameters()[0].second.mutable_value().fill(0.0f);
  for (const auto& [name, value] : b->state_dict()) {
    INFO(name);
    CHECK(value.to(DType::kFloat32).to_vector<float>() ==
          state.at(name).to(DType::kFloat32).to_vector<float>());
  }
}

TEST_CASE("batch norm's state has PyTorch's names, shapes and types") {
  Context c;
  BatchNorm norm(c, 3, 2);
  const auto state = norm.state_dict();
  CHECK(state.size() == 5);
  for (const char* name : {"weight", "bias", "running_mean", "running_var"}) {
    CHECK(state.at(name).shape() == Shape{3});
  }
  CHECK(state.at("num_batches_tracked").dtype() == DType::kInt64);
  CHECK(state.at("num_batches_tracked").rank() == 0);
}

TEST_CASE("one error lists missing, unexpected and mis-shaped names; nothing is loaded then") {
  Context c;
  const Model model = make_model("lenet5", c);
  auto state = model->state_dict();
  state["conv1.wieght"] = state.at("conv1.weight");
  state.erase("conv1.weight");
  state["fc3.bias"] = Tensor::zeros(c, {7});
  state["fc2.bias"].fill(42.0f);
  const std::string message = message_of(*model.module, state);
  CHECK_THAT(message, Catch::Contains("1 missing: conv1.weight"));
  CHECK_THAT(message, Catch::Contains("1 unexpected: conv1.wieght (did you mean conv1.weight?)"));
  CHECK_THAT(message, Catch::Contains("fc3.bias [7] instead of [10]"));
  CHECK(model->state_dict().at("fc2.bias").to_vector<float>()[0] != 42.0f);
}

TEST_CASE("shapes in the error are the file's") {
  Context c;
  Conv2d conv(c, Conv2dArgs{3, 4, 5});
  auto state = conv.state_dict();
  state["weight"] = Tensor::zeros(c, {4, 3, 1, 1});
  CHECK_THAT(message_of(conv, state),
             Catch::Contains("weight [4, 3, 1, 1] instead of [4, 3, 5, 5]"));
}

TEST_CASE("weights of another model: every name is listed") {
  Context c;
  const Model resnet = make_model("resnet20", c), lenet = make_model("lenet5", c);
  const std::string message = message_of(*resnet.module, lenet->state_dict());
  CHECK_THAT(message, Catch::Contains("missing: "));
  CHECK_THAT(message, Catch::Contains("unexpected: "));
  for (const auto& [name, tensor] : resnet->state_dict())
    CHECK_THAT(message, Catch::Contains(name));
}

TEST_CASE("a value of another kind of number is refused; another width is converted") {
  Context c;
  Linear layer(c, 2, 1, false);
  std::map<std::string, Tensor> state;
  state["weight"] = Tensor::zeros(c, {1, 2}, DType::kInt64);
  CHECK_THAT(message_of(layer, state), Catch::Contains("int64 instead of float32"));
  state["weight"] = Tensor::from<float>(c, {1, 2}, {0.5f, -2.0f}).to(DType::kBFloat16);
  CHECK(message_of(layer, state) == "");
  CHECK(layer.weight.value().to_vector<float>() == std::vector<float>{0.5f, -2.0f});
}

TEST_CASE("a buffer without elements takes the shape of the file") {
  Context c;
  Ranges fresh(c), full(c);
  full.low = Tensor::from<float>(c, {3}, {1, 2, 3});
  fresh.load_state_dict(full.state_dict());
  CHECK(fresh.low.to_vector<float>() == std::vector<float>{1, 2, 3});
  CHECK_THAT(message_of(full, Ranges(c).state_dict()), Catch::Contains("low [0] instead of [3]"));
}

}  // namespace
}  // namespace halftone
