// `backward: bf16`: the forward's bits stay, and gradients of chains are those of float32 but for
// the rounding of one operand.
#include <catch2/catch.hpp>
#include <cmath>

#include "test/quant/chain_net.h"

using namespace halftone;
using namespace halftone::test;

namespace {

struct Gradients {
  std::vector<uint8_t> codes;
  std::vector<std::vector<float>> all;  // of the input and of every parameter
};

Gradients gradients_of(const Case& c, std::optional<DeviceMath> backward) {
  ContextOptions options = Net::options(2);
  options.backward = backward;
  Net net(c, options);
  Variable x(net.x, true);
  Variable y = (*net.model)(x);
  REQUIRE(y.codes() != nullptr);
  Gradients g;
  g.codes = y.codes()->values.to_vector<uint8_t>();
  y.backward(spread(net.context, y.shape(), -1.0f, 1.0f, 11));
  g.all.push_back(x.grad().to_vector<float>());
  for (const auto& [name, parameter] : net.model->named_parameters()) {
    if (parameter.grad().defined()) g.all.push_back(parameter.grad().to_vector<float>());
  }
  return g;
}

double largest_of(const std::vector<float>& v) {
  double largest = 0;
  for (const float x : v) largest = std::max(largest, std::abs(static_cast<double>(x)));
  return largest;
}

}  // namespace

TEST_CASE("gradients in bfloat16 are float32's but for one rounding, and the forward is the same") {
  for (const Case& c : cases()) {
    DYNAMIC_SECTION(c.name) {
      const Gradients exact = gradients_of(c, std::nullopt);
      const Gradients rounded = gradients_of(c, DeviceMath::kBFloat16);
      REQUIRE(exact.codes == rounded.codes);
      REQUIRE(exact.all.size() == rounded.all.size());
      bool differ = false;
      for (size_t i = 0; i < exact.all.size(); ++i) {
        const std::vector<float>&a = exact.all[i], &b = rounded.all[i];
        REQUIRE(a.size() == b.size());
        differ = differ || a != b;
        // The incoming gradient alone is rounded, by at most 2^-9 of itself; a sum of such errors
        // of either sign stays below 2^-7 of the largest sum here.
        const double bound = largest_of(a) * 0x1p-7;
        for (size_t k = 0; k < a.size(); ++k)
          REQUIRE(std::abs(static_cast<double>(a[k]) - static_cast<double>(b[k])) <= bound);
      }
      REQUIRE(differ);
    }
  }
}
