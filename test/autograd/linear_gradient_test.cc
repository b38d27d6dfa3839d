// Gradients of convolution and linear, every input.
#include <catch2/catch.hpp>

#include "autograd/ops.h"
#include "test/autograd/gradcheck.h"

using namespace halftone;
using namespace halftone::test;

namespace {

struct ConvCase {
  const char* name;
  Shape x, w;
  Conv2dOptions options;
};

double conv_error(const ConvCase& c, bool with_bias) {
  const Context context;
  std::vector<Tensor> inputs{random_tensor(context, c.x, 1), random_tensor(context, c.w, 2)};
  if (with_bias) inputs.push_back(random_tensor(context, {c.w[0]}, 3));
  return gradient_error(
      [&](const std::vector<Variable>& v) {
        return conv2d(v[0], v[1], with_bias ? v[2] : Variable(), c.options);
      },
      inputs);
}

}  // namespace

TEST_CASE("gradient of conv2d") {
  // stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups
  const auto c =
      GENERATE(ConvCase{"plain", {2, 5, 4, 3}, {4, 3, 3, 3}, {1, 1, 1, 1, 1, 1, 1}},
               ConvCase{"strided, uneven", {1, 6, 5, 2}, {3, 3, 2, 2}, {2, 1, 1, 0, 1, 1, 1}},
               ConvCase{"dilated", {1, 7, 7, 2}, {2, 3, 3, 2}, {1, 1, 2, 2, 2, 2, 1}},
               ConvCase{"grouped", {2, 4, 4, 4}, {6, 3, 3, 2}, {1, 1, 1, 1, 1, 1, 2}},
               ConvCase{"depthwise, strided", {1, 5, 5, 4}, {4, 3, 3, 1}, {2, 2, 1, 1, 1, 1, 4}},
               ConvCase{"pointwise", {2, 3, 3, 4}, {5, 1, 1, 4}, {1, 1, 0, 0, 1, 1, 1}});
  INFO(c.name);
  CHECK(conv_error(c, true) < kTolerance);
  CHECK(conv_error(c, false) < kTolerance);
}

TEST_CASE("gradient of linear") {
  const Context context;
  const std::vector<Tensor> inputs{random_tensor(context, {3, 5}, 1),
                                   random_tensor(context, {4, 5}, 2),
                                   random_tensor(context, {4}, 3)};
  const auto with_bias = [](const std::vector<Variable>& v) { return linear(v[0], v[1], v[2]); };
  CHECK(gradient_error(with_bias, inputs) < kTolerance);
  const auto without = [](const std::vector<Variable>& v) {
    return linear(v[0], v[1], Variable());
  };
  CHECK(gradient_error(without, {inputs[0], inputs[1]}) < kTolerance);
}

TEST_CASE("a convolution whose weight is frozen still gives its bias a gradient") {
  const Context context;
  const Variable x(random_tensor(context, {2, 4, 4, 3}, 1));
  const Variable w(random_tensor(context, {2, 3, 3, 3}, 2));
  const Variable bias(Tensor::zeros(context, {2}), true);
  sum(conv2d(x, w, bias, {})).backward();
  CHECK(bias.grad().to_vector<float>() == std::vector<float>{8, 8});  // 2 images of 2 x 2 outputs
  CHECK_FALSE(w.grad().defined());
  CHECK_FALSE(x.grad().defined());
}

TEST_CASE("linear says what does not fit") {
  const Context context;
  const Variable w(random_tensor(context, {4, 5}, 2));
  const Variable image(random_tensor(context, {1, 1, 1, 5}, 1));
  CHECK_THROWS_WITH(linear(image, w, Variable()), Catch::Contains("Flatten"));
  const Variable narrow(random_tensor(context, {2, 3}, 1));
  CHECK_THROWS_WITH(linear(narrow, w, Variable()),
                    Catch::Contains("[2, 3]") && Catch::Contains("[4, 5]"));
}
