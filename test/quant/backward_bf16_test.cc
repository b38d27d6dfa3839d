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

namespace {

float bfloat16(double v) {
  const Context context;
  const Tensor t = Tensor::from(context, {1}, std::vector<float>{static_cast<float>(v)});
  return t.to(DType::kBFloat16).to(DType::kFloat32).item<float>();
}

}  // namespace

TEST_CASE("of a layer's gradients the incoming one alone is rounded, times the weight's scale") {
  Case c = cases()[8];  // linear without batch norm, one scale per channel
  ContextOptions options = Net::options(2);
  options.backward = DeviceMath::kBFloat16;
  Net net(c, options);
  Variable x(net.x, true);
  Variable y = (*net.model)(x);
  REQUIRE(y.codes() != nullptr);
  // One row has a gradient, so that the bias's is that of its sums.
  const int64_t in = net.x.dim(1), out = y.shape()[1];
  Tensor up = Tensor::zeros(net.context, y.shape());
  const Tensor row = spread(net.context, {out}, -1.0f, 1.0f, 11);
  std::copy_n(row.data<float>(), out, up.data<float>());
  y.backward(up);
  auto& layer = dynamic_cast<Linear&>(*net.layer);
  const auto dv = layer.bias.grad().to_vector<float>();
  const auto dx = x.grad().to_vector<float>(), dw = layer.weight.grad().to_vector<float>();
  const FakeQuantize& quantizer = net.quantizer_of(QuantType::kWeight);
  const auto scales = quantizer.grids(2).list;
  const auto codes = quantizer.codes(layer.weight.value()).to_vector<int32_t>();
  const QuantParams p = net.quantizer_of(QuantType::kInput).params();
  const auto reals = net.x.to_vector<float>();
  int passed = 0;
  std::vector<double> sums(static_cast<size_t>(in));
  for (int64_t o = 0; o < out; ++o) {
    const double scale = static_cast<double>(scales[static_cast<size_t>(o)].scale);
    const double rounded = static_cast<double>(bfloat16(static_cast<double>(dv[o]) * scale));
    passed += dv[o] != 0.0f;
    for (int64_t i = 0; i < in; ++i) {
      sums[i] += rounded * codes[o * in + i];
      const double code = std::nearbyint(static_cast<double>(reals[i] / p.scale));
      const double low = p.qmin - p.zero_point, high = p.qmax - p.zero_point;
      const double real = static_cast<double>(p.scale) * std::min(std::max(code, low), high);
      // Three float roundings of the product.
      REQUIRE(static_cast<double>(dw[o * in + i]) ==
              Approx(rounded / scale * real).epsilon(1e-6).margin(1e-9));
    }
  }
  REQUIRE(passed > 2);
  // A sum of eight products in float32, and one scale of each in float.
  for (int64_t i = 0; i < in; ++i)
    REQUIRE(static_cast<double>(dx[i]) == Approx(sums[i]).epsilon(1e-6).margin(1e-7));
}
