// Variables that hold integer codes.
#include <catch2/catch.hpp>

#include "autograd/ops.h"

using namespace halftone;

namespace {

using Floats = std::vector<float>;
using Bytes = std::vector<uint8_t>;

const QuantParams kParams{0.5f, 2, 0, 255};  // code 6 is 2.0

Codes codes(const Context& context, const Shape& shape, const Bytes& values) {
  return {Tensor::from<uint8_t>(context, shape, values), kParams};
}

// Codes computed from a float leaf: the leaf gets the gradient of the dequantized value.
Variable quantized(const Variable& x, const Codes& result) {
  return make_result({"fake", {x}, [](const Tensor& dy, GradSink& sink) { sink.put(0, dy); }},
                     result);
}

}  // namespace

TEST_CASE("codes are dequantized once, when somebody asks for the value") {
  const Context context;
  Variable v(codes(context, {3}, {2, 4, 0}));
  REQUIRE(v.codes() != nullptr);
  CHECK(v.codes()->params == kParams);
  CHECK(v.value().to_vector<float>() == Floats{0, 1, -1});
  CHECK(v.value().same_memory(v.value()));
  CHECK(v.shape() == Shape{3});
  CHECK_THROWS_WITH(v.mutable_value(), Catch::Contains("codes"));
  CHECK(Variable(v.value()).codes() == nullptr);
}

TEST_CASE("pad of codes takes the code of the value, and refuses a value that has none") {
  const Context context;
  const Variable x(Tensor::zeros(context, {1, 1, 1, 2}), true);
  const Variable q = quantized(x, codes(context, {1, 1, 1, 2}, {5, 9}));
  Variable y = pad(q, 0, 1, -1.0f);
  REQUIRE(y.codes() != nullptr);
  CHECK(y.codes()->values.to_vector<uint8_t>() == Bytes{0, 0, 5, 9, 0, 0});
  y.backward(Tensor::from<float>(context, {1, 1, 3, 2}, {1, 2, 3, 4, 5, 6}));
  CHECK(x.grad().to_vector<float>() == Floats{3, 4});
  CHECK_THROWS_WITH(pad(q, 0, 1, 0.25f), Catch::Contains("0.25"));
  CHECK_THROWS_WITH(pad(q, 0, 1, -2.0f), Catch::Contains("-2"));
}

TEST_CASE("max_pool2d and flatten of codes are codes, their gradient is the float op's") {
  const Context context;
  const Variable x(Tensor::zeros(context, {1, 2, 4, 2}), true);
  const Codes input = codes(context, {1, 2, 4, 2},
                            {1, 2, 9, 4, 5, 6, 7, 8,  //
                             3, 8, 0, 1, 5, 9, 2, 2});
  const Variable pooled = max_pool2d(quantized(x, input), {});
  REQUIRE(pooled.codes() != nullptr);
  CHECK(pooled.codes()->values.to_vector<uint8_t>() == Bytes{9, 8, 7, 9});
  Variable flat = flatten(pooled);
  REQUIRE(flat.codes() != nullptr);
  CHECK(flat.codes()->values.to_vector<uint8_t>() == Bytes{9, 7, 8, 9});
  CHECK(flat.codes()->params == kParams);
  flat.backward(Tensor::from<float>(context, {1, 4}, {1, 2, 3, 4}));
  CHECK(x.grad().to_vector<float>() == Floats{0, 0, 1, 0, 0, 0, 2, 0,  //
                                              0, 3, 0, 0, 0, 4, 0, 0});
}

TEST_CASE("relu of codes sees the dequantized values") {
  const Context context;
  const Variable x(Tensor::zeros(context, {3}), true);
  Variable y = relu(quantized(x, codes(context, {3}, {0, 2, 6})));
  CHECK(y.codes() == nullptr);
  CHECK(y.value().to_vector<float>() == Floats{0, 0, 2});
  y.backward(Tensor::from<float>(context, {3}, {1, 1, 1}));
  CHECK(x.grad().to_vector<float>() == Floats{0, 0, 1});
}

TEST_CASE("concat keeps codes of one scale and dequantizes codes of two") {
  const Context context;
  const Variable a(codes(context, {1, 2}, {3, 4})), b(codes(context, {1, 1}, {6}));
  const Variable together = concat({a, b});
  REQUIRE(together.codes() != nullptr);
  CHECK(together.codes()->values.to_vector<uint8_t>() == Bytes{3, 4, 6});
  Codes other = codes(context, {1, 1}, {6});
  other.params.scale = 1.0f;
  const Variable mixed = concat({a, Variable(other)});
  CHECK(mixed.codes() == nullptr);
  CHECK(mixed.value().to_vector<float>() == Floats{0.5f, 1, 4});
}
