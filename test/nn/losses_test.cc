#include "nn/losses.h"

#include <catch2/catch.hpp>

#include "test/nn/torch_numbers.h"

namespace halftone {
namespace {

void check_loss(const std::string& name, const Loss& loss) {
  Context context;
  const test::TorchNumbers numbers(context, "losses");
  test::ErrorMeter meter;
  const Variable x(numbers.at(name + "/x"), true);
  Variable value = loss(x, numbers.at(name + "/target"));
  meter.check(name + "/value", value.value().reshape({}), numbers.at(name + "/value"));
  value.backward();
  meter.check(name + "/dx", x.grad(), numbers.at(name + "/dx"));
}

TEST_CASE("every loss computes PyTorch's value and gradient") {
  check_loss("cross_entropy", make_loss("cross_entropy"));
  check_loss("cross_entropy_smooth", make_loss("cross_entropy", {0.1f}));
  check_loss("cross_entropy_large", make_loss("cross_entropy"));
  check_loss("nll", make_loss("nll"));
  check_loss("mse", make_loss("mse"));
  check_loss("squared_hinge", make_loss("squared_hinge"));
}

TEST_CASE("an unknown loss names the nearest; an option that a loss lacks is refused") {
  CHECK_THROWS_WITH(make_loss("cross_entrpy"), Catch::Contains("did you mean cross_entropy?"));
  CHECK_THROWS_WITH(make_loss("nll", {0.1f}), Catch::Contains("nll has no label_smoothing"));
  CHECK_THROWS_WITH(make_loss("cross_entropy", {1.5f}),
                    Catch::Contains("label_smoothing in [0, 1)"));
}

}  // namespace
}  // namespace halftone
