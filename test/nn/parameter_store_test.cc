#include "nn/parameter_store.h"

#include <catch2/catch.hpp>

#include "nn/layers.h"

namespace halftone {
namespace {

TEST_CASE("the store moves every parameter into one buffer; values, names and handles stay") {
  Context c;
  Sequential net(c, {make<Linear>(c, 3, 5), make<Linear>(c, 5, 2)});
  const auto before = net.state_dict();
  const auto& layer = dynamic_cast<const Linear&>(*net.find("1"));
  ParameterStore store(net);
  REQUIRE(store.entries().size() == 4);
  CHECK(store.entries()[2].name == "1.weight");
  for (const auto& e : store.entries()) {
    INFO(e.name);
    CHECK(e.offset % 16 == 0);
    CHECK(e.variable.value().data<float>() == store.values().data<float>() + e.offset);
    CHECK(e.variable.value().to_vector<float>() == before.at(e.name).to_vector<float>());
  }
  store.values().data<float>()[store.entries()[2].offset] = 7.0f;
  CHECK(layer.weight.value().data<float>()[0] == 7.0f);
  CHECK(net.state_dict().at("1.weight").data<float>()[0] == 7.0f);
}

TEST_CASE("backward writes into the gradient buffer, adds up, and starts anew after zero_grad") {
  Context c;
  Linear layer(c, 2, 1, false);
  ParameterStore store(layer);
  const Variable x(Tensor::from<float>(c, {1, 2}, {3, 4}));
  const Tensor one = Tensor::full(c, {1, 1}, 1.0f);
  const float* grads = store.grads().data<float>();
  layer(x).backward(one);
  CHECK(grads[1] == 4.0f);
  layer(x).backward(one);
  CHECK(grads[1] == 8.0f);
  CHECK(layer.weight.grad().data<float>() == grads);
  store.zero_grad();
  CHECK_FALSE(layer.weight.grad().defined());
  layer(x).backward(one);
  CHECK(grads[1] == 4.0f);
}

TEST_CASE("loading weights writes into the store") {
  Context c;
  Conv2d conv(c, Conv2dArgs{2, 2, 3});
  ParameterStore store(conv);
  auto state = conv.state_dict();
  state.at("weight").fill(0.25f);
  conv.load_state_dict(state);
  CHECK(conv.weight.value().data<float>() == store.values().data<float>());
  CHECK(store.values().data<float>()[0] == 0.25f);
}

}  // namespace
}  // namespace halftone
