#include "kernels/integer_conv.h"

#include <catch2/catch.hpp>
#include <random>

using namespace halftone;

namespace {

struct Problem {
  int n = 2, h = 5, w = 5, c = 3, o = 4, kh = 3, kw = 3;
  Conv2dOptions options;
  QuantParams params{0.1f, 0, 0, 255};
  bool all_max = false;
};

// acc in 64 bits from the definition.
std::vector<int64_t> oracle(const Problem& p, const std::vector<uint8_t>& x,
                            const std::vector<int8_t>& w, const Shape& y) {
  const int cg = p.c / p.options.groups, og = p.o / p.options.groups;
  std::vector<int64_t> acc(y.numel());
  size_t at = 0;
  for (int64_t n = 0; n < y[0]; ++n)
    for (int64_t i = 0; i < y[1]; ++i)
      for (int64_t j = 0; j < y[2]; ++j)
        for (int64_t o = 0; o < y[3]; ++o, ++at)
          for (int a = 0; a < p.kh; ++a)
            for (int b = 0; b < p.kw; ++b)
              for (int k = 0; k < cg; ++k) {
                const int64_t r =
                    i * p.options.stride_h - p.options.pad_h + a * p.options.dilation_h;
                const int64_t s =
                    j * p.options.stride_w - p.options.pad_w + b * p.options.dilation_w;
                if (r < 0 || s < 0 || r >= p.h || s >= p.w) continue;
                const int64_t channel = o / og * cg + k;
                const int64_t q =
                    x[((n * p.h + r) * p.w + s) * p.c + channel] - p.params.zero_point;
                acc[at] += q * w[((o * p.kh + a) * p.kw + b) * cg + k];
              }
  return acc;
}

void check(const Problem& p) {
  std::mt19937 rng(7);
  const Context context;
  const Shape xs{p.n, p.h, p.w, p.c}, ws{p.o, p.kh, p.kw, p.c / p.options.groups};
  std::vector<uint8_t> x(xs.numel());
  std::vector<int8_t> w(ws.numel());
  for (auto& v : x) v = p.all_max ? 255 : static_cast<uint8_t>(rng() % 256);
  for (auto& v : w)
    v = p.all_max ? (rng() % 9 == 0 ? -127 : 127) : static_cast<int8_t>(rng() % 255 - 127);
  const Shape ys = conv2d_shape(xs, ws, p.options);
  Tensor acc = Tensor::empty(context, ys, DType::kInt32);
  kernels::integer_conv2d(Codes{Tensor::from(context, xs, x), p.params},
                          Tensor::from(context, ws, w), p.options, acc);
  const std::vector<int64_t> want = oracle(p, x, w, ys);
  const std::vector<int32_t> got = acc.to_vector<int32_t>();
  int64_t different = 0;
  for (size_t i = 0; i < want.size(); ++i) different += want[i] != got[i];
  REQUIRE(different == 0);
}

}  // namespace

TEST_CASE("integer convolution equals 64-bit sums") {
  Problem p;
  SECTION("plain") {}
  SECTION("padding with a zero point") {
    p.options.pad_h = p.options.pad_w = 1;
    p.params.zero_point = 117;
  }
  SECTION("stride, dilation, odd extents") {
    p.h = 11;
    p.w = 7;
    p.options = {2, 1, 1, 2, 2, 1, 1};
    p.params.zero_point = 128;
  }
  SECTION("groups") {
    p.c = 6;
    p.o = 9;
    p.options.groups = 3;
  }
  SECTION("depthwise") {
    p.c = p.o = 8;
    p.options.groups = 8;
    p.options.pad_h = p.options.pad_w = 1;
    p.params.zero_point = 3;
  }
  check(p);
}

TEST_CASE("integer convolution is exact past 2^24") {
  Problem p;
  p.all_max = true;
  p.o = 3;
  SECTION("K = 576") { p.c = 64; }
  SECTION("K = 2304") { p.c = 256; }
  SECTION("K = 2304, zero point 255") {
    p.c = 256;
    p.params.zero_point = 255;
    p.options.pad_h = 1;
  }
  SECTION("K = 9216: the halves are cut into runs") {
    p.c = 1024;
    p.h = p.w = 4;
    p.o = 2;
  }
  check(p);
}

TEST_CASE("integer linear equals 64-bit sums") {
  const Context context;
  std::mt19937 rng(3);
  for (const int in : {5, 519, 8192, 20000}) {
    std::vector<uint8_t> x(2 * in, 255);
    std::vector<int8_t> w(3 * in, -127);
    for (int i = 0; i < in; ++i) w[i] = static_cast<int8_t>(rng() % 255 - 127);
    const Codes codes{Tensor::from(context, Shape{2, in}, x), {1.0f, 1, 0, 255}};
    Tensor acc = Tensor::empty(context, {2, 3}, DType::kInt32);
    kernels::integer_linear(codes, Tensor::from(context, Shape{3, in}, w), acc);
    int64_t first = 0;
    for (int i = 0; i < in; ++i) first += 254 * w[i];
    REQUIRE(acc.to_vector<int32_t>()[3] == first);
    REQUIRE(acc.to_vector<int32_t>()[5] == -254 * 127 * in);
  }
}

TEST_CASE("an accumulator past 2^30 is refused") {
  const Context context;
  const int in = 40000;
  const Codes codes{Tensor::from(context, Shape{1, in}, std::vector<uint8_t>(in, 255)),
                    {1.0f, 0, 0, 255}};
  const Tensor w = Tensor::from(context, Shape{1, in}, std::vector<int8_t>(in, 127));
  Tensor acc = Tensor::empty(context, {1, 1}, DType::kInt32);
  REQUIRE_THROWS_WITH(kernels::integer_linear(codes, w, acc), Catch::Contains("2^30"));
}

TEST_CASE("the bound is returned, and one of exactly 2^30 is refused") {
  const Context context;
  Tensor acc = Tensor::empty(context, {1, 1}, DType::kInt32);
  // |q - z| <= 128, weights 64: 2^13 an input.
  const auto run = [&](int64_t in) {
    Codes codes{Tensor::zeros(context, {1, in}, DType::kUInt8), {1.0f, 128, 0, 255}};
    Tensor w = Tensor::from(context, Shape{1, in}, std::vector<int8_t>(in, 64));
    return kernels::integer_linear(codes, w, acc);
  };
  REQUIRE(run(131071) == (int64_t{1} << 30) - (1 << 13));
  REQUIRE(acc.item<int32_t>() == -(1 << 30) + (1 << 13));
  REQUIRE_THROWS_WITH(run(131072), Catch::Contains("2^30"));
}
