// Bad input and bad arguments: the message names the module and both shapes, in PyTorch's order.
#include <catch2/catch.hpp>

#include "nn/layers.h"
#include "nn/zoo/zoo.h"

namespace halftone {
namespace {

std::string message_of(Module& model, const Shape& nhwc) {
  try {
    model(Variable(Tensor::zeros(model.context(), nhwc)));
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST_CASE("a convolution that does not fit names its path, its weight and the input, in NCHW") {
  Context c;
  const Model vgg = make_model("vgg_small", c);
  const std::string message = message_of(*vgg.module, {2, 32, 32, 1});
  CHECK_THAT(message, Catch::Contains("(N, 3, H, W) for weight (128, 3, 3, 3)"));
  CHECK_THAT(message, Catch::Contains("found (2, 1, 32, 32)"));
  CHECK_THAT(message, Catch::Contains("[while running features.0 (Conv2d 3->128)]"));
}

TEST_CASE("a linear layer that does not fit says so; an image before it wants a Flatten") {
  Context c;
  const Model lenet = make_model("lenet5", c);
  const std::string message = message_of(*lenet.module, {2, 32, 32, 1});
  CHECK_THAT(message, Catch::Contains("(N, 400) for weight (120, 400)"));
  CHECK_THAT(message, Catch::Contains("found (2, 576)"));
  CHECK_THAT(message, Catch::Contains("[while running fc1 (Linear 400->120)]"));
  Linear layer(c, 4, 2);
  CHECK_THAT(message_of(layer, {1, 2, 2, 1}), Catch::Contains("put a Flatten before it"));
  CHECK_THAT(message_of(layer, {1, 2, 2, 1}), Catch::Contains("[while running (Linear 4->2)]"));
}

TEST_CASE("batch norm checks channels and rank") {
  Context c;
  BatchNorm images(c, 3, 2), rows(c, 3, 1);
  CHECK_THAT(message_of(images, {2, 5, 5, 4}), Catch::Contains("(N, 3, H, W) for weight (3,)"));
  CHECK_THAT(message_of(images, {2, 5, 5, 4}), Catch::Contains("found (2, 4, 5, 5)"));
  CHECK_THAT(message_of(rows, {2, 5, 5, 3}), Catch::Contains("(N, 3) for weight (3,)"));
}

TEST_CASE("add and concat name both shapes") {
  Context c;
  Add add(c);
  Concat concat(c);
  const std::vector<Variable> inputs = {Variable(Tensor::zeros(c, {1, 4, 4, 2})),
                                        Variable(Tensor::zeros(c, {1, 4, 2, 2}))};
  CHECK_THROWS_WITH(add(inputs), Catch::Contains("(1, 2, 4, 4) and (1, 2, 4, 2)"));
  CHECK_THROWS_WITH(concat(inputs), Catch::Contains("(1, 2, 4, 4) and (1, 2, 4, 2)"));
  CHECK_THROWS_WITH(add(inputs[0]), Catch::Contains("two inputs"));
}

TEST_CASE("arguments that make no layer are refused") {
  Context c;
  CHECK_THROWS_WITH(Conv2d(c, Conv2dArgs{3, 4, 3, 1, 0, 1, 2}), Catch::Contains("groups 2"));
  CHECK_THROWS_WITH(Conv2d(c, Conv2dArgs{0, 4, 3}), Catch::Contains("in_channels 0"));
  CHECK_THROWS_WITH(Linear(c, 0, 4), Catch::Contains("0 to 4"));
  CHECK_THROWS_WITH(Dropout(c, 1.5f), Catch::Contains("p in [0, 1]"));
  CHECK_THROWS_WITH(BatchNorm(c, 3, 5), Catch::Contains("batch_norm"));
  CHECK_THROWS_WITH(make_hardtanh(c, 1.0f, -1.0f), Catch::Contains("low < high"));
}

}  // namespace
}  // namespace halftone
