// Products of operands rounded to bfloat16: the rounding bit for bit, and that every product rounds
// all that it multiplies, and nothing else.
#include "kernels/bfloat16.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/conv.h"
#include "kernels/elementwise.h"
#include "kernels/matmul.h"

using namespace halftone;

namespace {

Context context_of(DeviceMath math, std::optional<DeviceMath> backward = std::nullopt) {
  ContextOptions o;
  o.threads = 2, o.math = math, o.backward = backward;
  return Context(o);
}
Context plain() { return context_of(DeviceMath::kFloat32); }
Context half() { return context_of(DeviceMath::kBFloat16); }

std::vector<float> values(int64_t count, int seed) {
  std::vector<float> v;
  for (int64_t i = 0; i < count; ++i)
    v.push_back(std::sin(static_cast<float>(i * seed + seed)) * 1.2345f);
  return v;
}
Tensor tensor(const Context& context, const Shape& shape, int seed) {
  return Tensor::from(context, shape, values(shape.numel(), seed));
}
// The same rounded by tensor/'s conversion, in a context that rounds nothing.
Tensor rounded(const Shape& shape, int seed) {
  return tensor(plain(), shape, seed).to(DType::kBFloat16).to(DType::kFloat32);
}

// The bits that `product` gives of operands rounded inside and of operands rounded before.
template <class Product>
void check(Product product, const Context& inside = half()) {
  const auto got = product(inside, [&](const Shape& s, int k) { return tensor(inside, s, k); });
  const auto want = product(plain(), rounded);
  const auto exact = product(plain(), [](const Shape& s, int k) { return tensor(plain(), s, k); });
  REQUIRE(got == want);
  REQUIRE(got != exact);
}

const Conv2dOptions kPadded{1, 1, 1, 1, 1, 1, 1}, kStrided{2, 2, 1, 1, 1, 1, 1};

}  // namespace

TEST_CASE("operands are rounded to nearest even, as bfloat16 tensors are") {
  std::vector<float> all = {0.0f,     -0.0f,     1.0f,    255.0f, 256.0f,
                            257.0f,   1e-40f,    -1e-45f, 3e38f,  std::numeric_limits<float>::max(),
                            INFINITY, -INFINITY, NAN};
  for (uint32_t i = 0; i < 4096; ++i) {  // around ties, in both directions, of many exponents
    const uint32_t bits = (i * 0x00f13579u & 0xffff0000u) + 0x7ffeu + i % 5;
    float v;
    std::memcpy(&v, &bits, sizeof v);
    all.push_back(v);
  }
  const Shape shape{static_cast<int64_t>(all.size())};
  const Tensor x = Tensor::from(plain(), shape, all);
  const auto got = kernels::operand(x, DeviceMath::kBFloat16).to_vector<float>();
  const auto want = x.to(DType::kBFloat16).to(DType::kFloat32).to_vector<float>();
  for (size_t i = 0; i < all.size(); ++i) {
    INFO(all[i]);
    if (std::isnan(all[i])) {
      REQUIRE(std::isnan(got[i]));
    } else {
      REQUIRE(std::memcmp(&got[i], &want[i], sizeof(float)) == 0);
    }
  }
  REQUIRE(kernels::operand(x, DeviceMath::kFloat32).raw() == x.raw());
}

TEST_CASE("every product rounds what it multiplies") {
  for (const Conv2dOptions& options : {kPadded, kStrided}) {
    const Shape x{4, 12, 12, 16}, w{20, 3, 3, 16}, y = conv2d_shape(x, w, options);
    check([&](const Context& c, auto of) {
      Tensor out = Tensor::empty(c, y);
      kernels::conv2d(of(x, 3), of(w, 5), nullptr, options, out, ConvAlgorithm::kAuto);
      return out.to_vector<float>();
    });
    check([&](const Context& c, auto of) {
      Tensor dx = Tensor::empty(c, x);
      kernels::conv2d_backward_data(of(y, 3), of(w, 5), options, dx);
      return dx.to_vector<float>();
    });
    check([&](const Context& c, auto of) {
      Tensor dx = Tensor::zeros(c, x);
      kernels::conv2d_add_backward_data(of(y, 3), of(w, 5), options, dx);
      return dx.to_vector<float>();
    });
    check([&](const Context& c, auto of) {
      Tensor dw = Tensor::empty(c, w);
      kernels::conv2d_backward_weight(of(x, 3), of(y, 5), options, dw, nullptr);
      return dw.to_vector<float>();
    });
  }
  const Shape x{6, 40}, w{9, 40}, y{6, 9};
  check([&](const Context& c, auto of) {
    Tensor out = Tensor::empty(c, y);
    kernels::linear(of(x, 3), of(w, 5), nullptr, out);
    return out.to_vector<float>();
  });
  check([&](const Context& c, auto of) {
    Tensor dx = Tensor::empty(c, x);
    kernels::linear_backward_data(of(y, 3), of(w, 5), dx);
    return dx.to_vector<float>();
  });
  check([&](const Context& c, auto of) {
    Tensor dw = Tensor::empty(c, w);
    kernels::linear_backward_weight(of(x, 3), of(y, 5), dw, nullptr);
    return dw.to_vector<float>();
  });
}

TEST_CASE("gradients alone are rounded where that is asked for") {
  const Context c = context_of(DeviceMath::kFloat32, DeviceMath::kBFloat16);
  const Shape x{6, 40}, w{9, 40}, y{6, 9};
  Tensor got = Tensor::empty(c, y), want = Tensor::empty(plain(), y);
  kernels::linear(tensor(c, x, 3), tensor(c, w, 5), nullptr, got);
  kernels::linear(tensor(plain(), x, 3), tensor(plain(), w, 5), nullptr, want);
  REQUIRE(got.to_vector<float>() == want.to_vector<float>());
  check(
      [&](const Context& context, auto of) {
        Tensor dx = Tensor::empty(context, x);
        kernels::linear_backward_data(of(y, 3), of(w, 5), dx);
        return dx.to_vector<float>();
      },
      c);
}

TEST_CASE("whole numbers of eight bits are exact in products of bfloat16") {
  const Shape x{2, 6, 6, 8}, w{8, 3, 3, 8}, y = conv2d_shape(x, w, kPadded);
  std::vector<float> codes, weights;
  for (int64_t i = 0; i < x.numel(); ++i) codes.push_back(static_cast<float>(i * 7 % 256));
  for (int64_t i = 0; i < w.numel(); ++i) weights.push_back(static_cast<float>(i * 11 % 255 - 127));
  Tensor got = Tensor::empty(half(), y), want = Tensor::empty(plain(), y);
  kernels::conv2d(Tensor::from(half(), x, codes), Tensor::from(half(), w, weights), nullptr,
                  kPadded, got);
  kernels::conv2d(Tensor::from(plain(), x, codes), Tensor::from(plain(), w, weights), nullptr,
                  kPadded, want);
  REQUIRE(got.to_vector<float>() == want.to_vector<float>());
}

TEST_CASE("channels are scaled along the first or the last axis") {
  const Tensor x = tensor(plain(), {3, 2, 4}, 3);
  const std::vector<float> of_x = x.to_vector<float>(), last = {1, 2, 4, 8}, first = {1, 2, 4};
  Tensor y = Tensor::empty(plain(), x.shape());
  kernels::scale_channels(x, 2, last, y);
  for (int64_t i = 0; i < 24; ++i) REQUIRE(y.to_vector<float>()[i] == of_x[i] * last[i % 4]);
  kernels::scale_channels(x, 0, first, y);
  for (int64_t i = 0; i < 24; ++i) REQUIRE(y.to_vector<float>()[i] == of_x[i] * first[i / 8]);
  REQUIRE_THROWS_WITH(kernels::scale_channels(x, 1, {1, 2}, y),
                      Catch::Contains("first or the last"));
}

TEST_CASE("TF32 is refused on the CPU") {
  REQUIRE_THROWS_WITH(context_of(DeviceMath::kTf32), Catch::Contains("float32 or bfloat16"));
}
