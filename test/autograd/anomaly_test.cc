// DetectNonFinite: which op, where.
#include "autograd/anomaly.h"

#include <catch2/catch.hpp>
#include <limits>

#include "autograd/ops.h"

using namespace halftone;

namespace {

const float kNaN = std::numeric_limits<float>::quiet_NaN();
const float kLarge = std::numeric_limits<float>::max();

Variable leaf(const std::vector<float>& values) {
  const Context context;
  const Shape shape{static_cast<int64_t>(values.size())};
  return Variable(Tensor::from<float>(context, shape, values), true);
}

Variable with_gradient(const Variable& x, float value, bool through_out) {
  const auto backward = [=](const Tensor& dy, GradSink& sink) {
    if (through_out) return sink.out(0).fill(value);
    sink.put(0, Tensor::full(dy.context(), dy.shape(), value));
  };
  const ErrorScope scope("features.2");
  return make_result({"strange", {x}, backward}, x.value().clone());
}

}  // namespace

TEST_CASE("the first forward result that is not finite names op and module") {
  const DetectNonFinite detect;
  const Variable x = leaf({1, kLarge});
  const ErrorScope scope("features.1");
  CHECK_THROWS_WITH(scale(x, 2), Catch::StartsWith("scale") && Catch::Contains("features.1") &&
                                     Catch::Contains("infinity at element 1") &&
                                     Catch::Contains("every input was finite"));
}

TEST_CASE("an input that was bad already is named") {
  const DetectNonFinite detect;
  CHECK_THROWS_WITH(add(leaf({1, 1}), leaf({kNaN, 1})),
                    Catch::Contains("NaN at element 0") && Catch::Contains("input 1"));
  const Context context;
  const Codes codes{Tensor::zeros(context, {2}, DType::kUInt8), QuantParams{kNaN, 0, 0, 255}};
  CHECK_THROWS_WITH(make_result({"quantize", {}, {}}, codes), Catch::Contains("scale"));
  const Codes hidden{Tensor::zeros(context, {2}, DType::kUInt8), QuantParams{1, 0, 0, 255}};
  CHECK_THROWS_WITH(make_result({"quantize", {leaf({kNaN, 1})}, {}}, hidden),
                    Catch::Contains("codes of values") && Catch::Contains("input 0"));
}

TEST_CASE("a gradient that is not finite names op and module") {
  const bool through_out = GENERATE(false, true);
  const DetectNonFinite detect;
  Variable y = sum(with_gradient(leaf({1, 2}), kNaN, through_out));
  CHECK_THROWS_WITH(y.backward(), Catch::StartsWith("strange") && Catch::Contains("features.2") &&
                                      Catch::Contains("gradient of input 0"));
}

TEST_CASE("gradients that overflow only when they are added are found") {
  const DetectNonFinite detect;
  const Variable x = leaf({1, 2});
  const Variable inner = with_gradient(x, 1.0f, false);
  Variable y = sum(add(with_gradient(inner, kLarge, true), with_gradient(inner, kLarge, true)));
  CHECK_THROWS_WITH(y.backward(), Catch::Contains("gradient of its output"));
}

TEST_CASE("nothing is checked outside its life") {
  { const DetectNonFinite detect; }
  CHECK_FALSE(DetectNonFinite::active());
  const Variable x = leaf({1, 2});
  Variable y = sum(scale(with_gradient(x, kNaN, true), std::numeric_limits<float>::infinity()));
  CHECK_NOTHROW(y.backward());
}
