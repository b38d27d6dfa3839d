// Gradients of pools and of ops that move values.
#include <catch2/catch.hpp>

#include "autograd/ops.h"
#include "test/autograd/gradcheck.h"

using namespace halftone;
using namespace halftone::test;

namespace {

using Inputs = std::vector<Variable>;

// kernel, stride, padding (all h, w), ceil_mode, count_include_pad
const Pool2dOptions kHalving{2, 2, 2, 2, 0, 0, false, true};
const Pool2dOptions kOverlapping{3, 2, 2, 1, 1, 1, false, false};
const Pool2dOptions kCeil{2, 3, 2, 2, 0, 1, true, true};

}  // namespace

TEST_CASE("gradients of max_pool2d and avg_pool2d") {
  const Context context;
  const Pool2dOptions options = GENERATE(kHalving, kOverlapping, kCeil);
  const std::vector<Tensor> x{spaced_tensor(context, {2, 5, 6, 3}, 1)};
  INFO("kernel " << options.kernel_h << " x " << options.kernel_w);
  CHECK(gradient_error([&](const Inputs& v) { return max_pool2d(v[0], options); }, x) < kTolerance);
  CHECK(gradient_error([&](const Inputs& v) { return avg_pool2d(v[0], options); }, x) < kTolerance);
}

TEST_CASE("where maxima tie the first one gets the gradient") {
  const Context context;
  const Variable x(Tensor::from<float>(context, {1, 2, 2, 1}, {1, 3, 3, 3}), true);
  sum(max_pool2d(x, kHalving)).backward();
  CHECK(x.grad().to_vector<float>() == std::vector<float>{0, 1, 0, 0});
}

TEST_CASE("gradient of adaptive_avg_pool2d") {
  const Context context;
  const std::vector<Tensor> x{random_tensor(context, {2, 5, 4, 3}, 1)};
  const auto uneven = [](const Inputs& v) { return adaptive_avg_pool2d(v[0], 3, 2); };
  const auto global = [](const Inputs& v) { return adaptive_avg_pool2d(v[0], 1, 1); };
  CHECK(gradient_error(uneven, x) < kTolerance);
  CHECK(gradient_error(global, x) < kTolerance);
  CHECK_THROWS_WITH(adaptive_avg_pool2d(Variable(x[0]), 0, 1), Catch::Contains("0 x 1"));
}

TEST_CASE("gradients of flatten and reshape") {
  const Context context;
  const Shape shape = GENERATE(Shape{2, 3, 2, 4}, Shape{2, 3, 2, 1}, Shape{2, 1, 1, 5});
  const std::vector<Tensor> x{random_tensor(context, shape, 1)};
  CHECK(gradient_error([](const Inputs& v) { return flatten(v[0]); }, x) < kTolerance);
  const Shape other{shape[0], shape[1] * shape[2] * shape[3]};
  CHECK(gradient_error([&](const Inputs& v) { return reshape(v[0], other); }, x) < kTolerance);
}

TEST_CASE("flatten puts channels first, passes rank 2 through, refuses rank 3") {
  const Context context;
  const Variable x(Tensor::from<float>(context, {1, 2, 1, 3}, {1, 2, 3, 4, 5, 6}));
  const Variable flat = flatten(x);
  CHECK(flat.shape() == Shape{1, 6});
  CHECK(flat.value().to_vector<float>() == std::vector<float>{1, 4, 2, 5, 3, 6});
  CHECK(flatten(flat).same(flat));
  CHECK_THROWS_WITH(flatten(Variable(random_tensor(context, {2, 3, 4}, 1))),
                    Catch::Contains("[2, 3, 4]"));
}

TEST_CASE("pad frames images with a value, its gradient is what lies inside") {
  const Context context;
  const Variable x(Tensor::from<float>(context, {1, 2, 1, 2}, {1, 2, 3, 4}));
  const Variable y = pad(x, 1, 1, -1.0f);
  CHECK(y.shape() == Shape{1, 4, 3, 2});
  CHECK(y.value().to_vector<float>() == std::vector<float>{-1, -1, -1, -1, -1, -1,  //
                                                           -1, -1, 1,  2,  -1, -1,  //
                                                           -1, -1, 3,  4,  -1, -1,  //
                                                           -1, -1, -1, -1, -1, -1});
  CHECK(pad(x, 0, 2, 7).value().to_vector<float>() ==
        std::vector<float>{7, 7, 7, 7, 1, 2, 7, 7, 7, 7, 7, 7, 7, 7, 3, 4, 7, 7, 7, 7});
  const std::vector<Tensor> images{random_tensor(context, {3, 4, 5, 2}, 1)};
  const auto framed = [](const Inputs& v) { return pad(v[0], 2, 1, 0.5f); };
  CHECK(gradient_error(framed, images) < kTolerance);
  CHECK_THROWS_WITH(pad(x, -1, 0, 0), Catch::Contains("-1 and 0"));
}

TEST_CASE("gradient of concat") {
  const Context context;
  const std::vector<Tensor> xs{random_tensor(context, {2, 2, 3, 1}, 1),
                               random_tensor(context, {2, 2, 3, 4}, 2),
                               random_tensor(context, {2, 2, 3, 2}, 3)};
  CHECK(gradient_error([](const Inputs& v) { return concat(v); }, xs) < kTolerance);
  const auto twice = [](const Inputs& v) { return concat({v[0], v[0]}); };
  CHECK(gradient_error(twice, {xs[0]}) < kTolerance);
}

TEST_CASE("concat with an input that wants no gradient") {
  const Context context;
  const Variable a(random_tensor(context, {2, 1}, 1), true), b(random_tensor(context, {2, 2}, 2));
  const Variable y = concat({b, a});
  Variable(y).backward(Tensor::from<float>(context, {2, 3}, {1, 2, 3, 4, 5, 6}));
  CHECK(a.grad().to_vector<float>() == std::vector<float>{3, 6});
  CHECK_THROWS_WITH(concat({}), Catch::Contains("at least one"));
  CHECK_THROWS_WITH(concat({a, Variable(random_tensor(context, {3, 1}, 1))}),
                    Catch::Contains("[3, 1]"));
}

TEST_CASE("gradient of subsample_pad") {
  const Context context;
  const std::vector<Tensor> x{random_tensor(context, {2, 5, 4, 3}, 1)};
  const auto even = [](const Inputs& v) { return subsample_pad(v[0], 2, 1, 2); };
  const auto none = [](const Inputs& v) { return subsample_pad(v[0], 1, 0, 0); };
  CHECK(gradient_error(even, x) < kTolerance);
  CHECK(gradient_error(none, x) < kTolerance);
  const Shape wanted{2, 3, 2, 6};
  CHECK(subsample_pad(Variable(x[0]), 2, 1, 2).shape() == wanted);
  CHECK_THROWS_WITH(subsample_pad(Variable(x[0]), 0, 1, 2), Catch::Contains("stride 0"));
}
