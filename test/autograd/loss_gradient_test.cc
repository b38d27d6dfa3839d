#include <catch2/catch.hpp>

#include "autograd/ops.h"
#include "test/autograd/gradcheck.h"

using namespace halftone;
using namespace halftone::test;

namespace {

using Inputs = std::vector<Variable>;

struct Batch {
  Context context;
  Tensor x = random_tensor(context, {4, 5}, 1);
  Tensor labels = Tensor::from<int64_t>(context, {4}, {3, 0, 4, 0});
};

}  // namespace

TEST_CASE("gradients of the losses") {
  const Batch b;
  const auto smooth = [&](const Inputs& v) { return cross_entropy(v[0], b.labels, 0.1f); };
  const auto plain = [&](const Inputs& v) { return cross_entropy(v[0], b.labels); };
  const auto nll = [&](const Inputs& v) { return nll_loss(v[0], b.labels); };
  const auto hinge = [&](const Inputs& v) { return squared_hinge_loss(v[0], b.labels); };
  const Tensor target = random_tensor(b.context, {4, 5}, 2);
  const auto mse = [&](const Inputs& v) { return mse_loss(v[0], target); };
  CHECK(gradient_error(plain, {b.x}) < kTolerance);
  CHECK(gradient_error(smooth, {b.x}) < kTolerance);
  CHECK(gradient_error(nll, {b.x}) < kTolerance);
  CHECK(gradient_error(mse, {b.x}) < kTolerance);
  // The second derivative jumps where 1 - t x = 0: a probe across it is off by at most h / 2 of
  // 2 / (N C), which the tolerance (relative to the largest gradient) holds.
  CHECK(gradient_error(hinge, {b.x}) < 5 * kTolerance);
}

TEST_CASE("the squared hinge has no slope at its kink") {
  const Context context;
  const Variable x(Tensor::from<float>(context, {1, 3}, {1, -1, 0}), true);
  squared_hinge_loss(x, Tensor::from<int64_t>(context, {1}, {0})).backward();
  const std::vector<float> g = x.grad().to_vector<float>();
  CHECK(g[0] == 0.0f);
  CHECK(g[1] == 0.0f);
  CHECK(g[2] == Approx(2.0 / 3));
}

TEST_CASE("losses agree: cross_entropy is nll of log_softmax") {
  const Batch b;
  const Variable one(b.x.clone(), true), two(b.x.clone(), true);
  Variable direct = cross_entropy(one, b.labels), composed = nll_loss(log_softmax(two), b.labels);
  // Two orders of the same float32 operations: a few units in the last place.
  CHECK(direct.value().item<float>() == Approx(composed.value().item<float>()).epsilon(1e-6));
  direct.backward();
  composed.backward();
  const auto g = one.grad().to_vector<float>(), h = two.grad().to_vector<float>();
  for (size_t i = 0; i < g.size(); ++i) CHECK(g[i] == Approx(h[i]).margin(1e-7));
}

TEST_CASE("a scaled loss scales the gradient") {
  const Batch b;
  const Variable one(b.x, true), four(b.x, true);
  cross_entropy(one, b.labels).backward();
  scale(cross_entropy(four, b.labels), 4.0f).backward();
  const auto g = one.grad().to_vector<float>(), h = four.grad().to_vector<float>();
  for (size_t i = 0; i < g.size(); ++i) CHECK(h[i] == 4.0f * g[i]);  // a power of two: exact
}
