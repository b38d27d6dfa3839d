#include "kernels/integer_conv.h"

#include <catch2/catch.hpp>
#include <functional>
#include <random>

#include "kernels/integer_bodies.h"

using namespace halftone;

namespace {

struct Problem {
  int n = 2, h = 5, w = 5, c = 3, o = 4, kh = 3, kw = 3;
  Conv2dOptions options;
  QuantParams params{0.1f, 0, 0, 255};
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

// What the codes are: any, or those that make the largest sums.
enum class Fill { kRandom, kRandomEnds, kHigh, kLow };

template <class T>
std::vector<T> filled(int64_t count, Fill fill, int low, int high, unsigned seed) {
  std::mt19937 rng(seed);
  std::vector<T> codes(count);
  for (T& v : codes) {
    const int random = low + static_cast<int>(rng() % (high - low + 1));
    const int end = rng() % 2 == 0 ? low : high;
    v = static_cast<T>(fill == Fill::kRandom       ? random
                       : fill == Fill::kRandomEnds ? end
                       : fill == Fill::kHigh       ? high
                                                   : low);
  }
  return codes;
}

using Run = std::function<void(const kernels::ConvGeometry&, const Codes&, const Tensor&, Tensor&)>;

// The chosen body, and each that can: VNNI wants more than a few channels in a group, and a zero
// point that is a code.
std::vector<std::pair<std::string, Run>> runs(const kernels::ConvGeometry& g, bool zero_is_code) {
  std::vector<std::pair<std::string, Run>> all = {
      {"chosen", [](const kernels::ConvGeometry& g, const Codes& x, const Tensor& w, Tensor& acc) {
         kernels::integer_conv2d(x, w, g.options, acc);
       }}};
  const auto add = [&](const std::string& name, const kernels::IntegerBody& body) {
    all.push_back(
        {name,
         [&body](const kernels::ConvGeometry& g, const Codes& x, const Tensor& w, Tensor& acc) {
           const auto bounds = kernels::accumulator_bounds(x.params, w);
           body.conv2d(g, x, w, *std::max_element(bounds.begin(), bounds.end()), acc, nullptr);
         }});
  };
  add("float", kernels::float_integer_body());
  const kernels::IntegerBody* vnni = kernels::vnni_integer_body();
  if (vnni != nullptr && zero_is_code && vnni->takes(g)) add("vnni", *vnni);
  return all;
}

void check(const Problem& p, Fill x_fill, Fill w_fill) {
  const Shape xs{p.n, p.h, p.w, p.c}, ws{p.o, p.kh, p.kw, p.c / p.options.groups};
  const auto x = filled<uint8_t>(xs.numel(), x_fill, 0, 255, 7);
  const auto w = filled<int8_t>(ws.numel(), w_fill, -128, 127, 8);
  const Shape ys = conv2d_shape(xs, ws, p.options);
  const std::vector<int64_t> want = oracle(p, x, w, ys);
  const kernels::ConvGeometry g = kernels::conv_geometry("test", xs, ws, p.options);
  for (const int threads : {1, 2, 3, 8}) {
    ContextOptions options;
    options.threads = threads;
    const Context context(options);
    const Codes codes{Tensor::from(context, xs, x), p.params};
    const Tensor weights = Tensor::from(context, ws, w);
    for (const auto& [name, run] : runs(g, p.params.zero_point >= 0)) {
      CAPTURE(name, threads);
      Tensor acc = Tensor::from(context, ys, std::vector<int32_t>(want.size(), 12345));
      run(g, codes, weights, acc);
      const std::vector<int32_t> got = acc.to_vector<int32_t>();
      int64_t different = 0;
      for (size_t i = 0; i < want.size(); ++i) different += want[i] != got[i];
      REQUIRE(different == 0);
    }
  }
}

// Random codes, and the ends of both ranges, for zero points at the ends and between.
void check(Problem p) {
  check(p, Fill::kRandom, Fill::kRandom);
  for (const int z : {0, 128, 255}) {
    p.params.zero_point = z;
    check(p, Fill::kRandomEnds, Fill::kRandomEnds);
  }
}

}  // namespace

namespace {

// The same with weights of 9 bits: rows of int8 and an offset each.
std::vector<int64_t> oracle_with(const Problem& p, const std::vector<uint8_t>& x,
                                 const std::vector<int8_t>& w, const std::vector<int32_t>& offsets,
                                 const Shape& y) {
  std::vector<int64_t> sum = oracle(p, x, w, y);
  const int64_t row = static_cast<int64_t>(w.size()) / p.o;
  for (int o = 0; o < p.o; ++o) {
    std::vector<int8_t> one(w.size());
    std::fill_n(one.begin() + o * row, row, int8_t{1});
    const std::vector<int64_t> window = oracle(p, x, one, y);
    for (size_t i = o; i < sum.size(); i += p.o) sum[i] += offsets[o] * window[i];
  }
  return sum;
}

void check_offsets(const Problem& p, Fill x_fill, Fill w_fill, int32_t least, int32_t most) {
  const Shape xs{p.n, p.h, p.w, p.c}, ws{p.o, p.kh, p.kw, p.c / p.options.groups};
  const auto x = filled<uint8_t>(xs.numel(), x_fill, 0, 255, 17);
  const auto w = filled<int8_t>(ws.numel(), w_fill, -128, 127, 18);
  const auto offsets = filled<int32_t>(p.o, Fill::kRandom, least, most, 19);
  const Shape ys = conv2d_shape(xs, ws, p.options);
  const std::vector<int64_t> want = oracle_with(p, x, w, offsets, ys);
  for (const int threads : {1, 3}) {
    ContextOptions options;
    options.threads = threads;
    const Context context(options);
    const Codes codes{Tensor::from(context, xs, x), p.params};
    const Tensor weights = Tensor::from(context, ws, w);
    Tensor acc = Tensor::empty(context, ys, DType::kInt32);
    kernels::AccumulatorStatistics statistics;
    const int64_t bound =
        kernels::integer_conv2d(codes, weights, p.options, acc, &statistics, offsets);
    const std::vector<int32_t> got = acc.to_vector<int32_t>();
    REQUIRE(std::vector<int64_t>(got.begin(), got.end()) == want);
    for (const int64_t v : want) REQUIRE(std::abs(v) <= bound);
    for (int o = 0; o < p.o; ++o) {
      int64_t sum = 0;
      for (size_t i = o; i < want.size(); i += p.o) sum += want[i];
      REQUIRE(statistics.sum[o] == sum);
    }
  }
}

}  // namespace

TEST_CASE("weights past int8: rows with an offset are the sums of their integers") {
  Problem p;
  SECTION("padding") { p.options.pad_h = p.options.pad_w = 1; }
  SECTION("stride, dilation, odd extents") {
    p.h = 11, p.w = 7;
    p.options = {2, 1, 1, 2, 2, 1, 1};
  }
  SECTION("groups") {
    p.c = 6, p.o = 9;
    p.options.groups = 3;
  }
  SECTION("depthwise") {
    p.c = p.o = 8;
    p.options.groups = 8;
  }
  SECTION("one pixel, many channels") {
    p.h = p.w = p.kh = p.kw = 1;
    p.c = 300, p.o = 20;
  }
  for (const int z : {0, 117, 255}) {
    p.params.zero_point = z;
    check_offsets(p, Fill::kRandom, Fill::kRandom, -127, 128);
    check_offsets(p, Fill::kRandomEnds, Fill::kRandomEnds, 128, 128);
    check_offsets(p, Fill::kHigh, Fill::kLow, -127, -127);
  }
}

TEST_CASE("weights past int8: the largest sums, past 2^24, and the bound of the true weights") {
  const Context context;
  const int64_t n = 12000;
  const QuantParams params{1.0f, 0, 0, 255};
  const Codes x{Tensor::from(context, Shape{2, n}, std::vector<uint8_t>(2 * n, 255)), params};
  const Tensor w = Tensor::from(context, Shape{1, n}, std::vector<int8_t>(n, 127));
  Tensor acc = Tensor::empty(context, {2, 1}, DType::kInt32);
  REQUIRE(kernels::integer_linear(x, w, acc, nullptr, {128}) == n * 255 * 255);
  REQUIRE(acc.to_vector<int32_t>() == std::vector<int32_t>(2, n * 255 * 255));
  // 17,000 of them would pass 2^30; codes of -128 with an offset of 128 are nothing at all.
  const Codes wide{Tensor::zeros(context, {1, 17000}, DType::kUInt8), params};
  Tensor one = Tensor::empty(context, {1, 1}, DType::kInt32);
  REQUIRE_THROWS_WITH(
      kernels::integer_linear(
          wide, Tensor::from(context, Shape{1, 17000}, std::vector<int8_t>(17000, 127)), one,
          nullptr, {128}),
      Catch::Contains("below 2^30"));
  const Tensor none = Tensor::from(context, Shape{1, 17000}, std::vector<int8_t>(17000, -128));
  REQUIRE(kernels::integer_linear(wide, none, one, nullptr, {128}) == 0);
  REQUIRE_THROWS_WITH(kernels::integer_linear(wide, none, one, nullptr, {1, 2}),
                      Catch::Contains("offsets"));
}

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

TEST_CASE("integer convolution takes every shape") {
  Problem p;
  SECTION("few channels, many columns of the kernel") {
    p = {2, 28, 28, 1, 6, 5, 5, {1, 1, 2, 2, 1, 1, 1}, {0.1f, 7, 0, 255}};
  }
  SECTION("output channels fill one, two, three and more vectors") {
    for (const int o : {1, 15, 16, 17, 33, 47, 64, 65, 120}) {
      p.o = o;
      p.options.pad_h = o % 2;
      check(p);
    }
  }
  SECTION("quads of every length") {
    for (const int c : {1, 2, 3, 4, 5, 6, 7, 8, 64}) {
      p.c = c;
      check(p);
    }
  }
  SECTION("pixels of every tile") {
    for (int w = 3; w < 20; ++w) {
      p.w = w;
      p.h = 3;
      p.o = 16 * (w % 4 + 1);
      check(p);
    }
  }
  SECTION("1 x 1, also with a stride and padding") {
    p.kh = p.kw = 1;
    p.c = 8;
    check(p);
    p.options = {2, 2, 1, 1, 1, 1, 1};
  }
  SECTION("1 x 1 of three channels: the last quad ends behind the image") {
    p.kh = p.kw = 1;
    p.n = 1;
  }
  SECTION("a kernel as large as the image") { p.kh = p.kw = 5; }
  SECTION("one tall column") {
    p.w = 3;
    p.h = 40;
    p.n = 1;
  }
  SECTION("dilation of rows alone") { p.options = {1, 1, 2, 0, 2, 1, 1}; }
  SECTION("dilation of columns, with stride") { p.options = {2, 2, 3, 4, 2, 2, 1}; }
  SECTION("groups that fill half a vector and more") {
    for (const int og : {8, 17, 70}) {
      p = {2, 6, 5, 10, 2 * og, 3, 3, {1, 2, 1, 1, 1, 1, 2}, {0.1f, 9, 0, 255}};
      check(p);
    }
  }
  SECTION("depthwise: parts of a vector, one and more, even and odd taps") {
    for (const int c : {2, 5, 16, 17, 40}) {
      p = {2, 7, 6, c, c, 3, c % 2 + 2, {1 + c % 2, 2, 2, 1, 1, 1, c}, {0.1f, 77, 0, 255}};
      check(p);
    }
    p.options.dilation_w = 2;
  }
  SECTION("more rows than a thread has images") {
    p = {1, 13, 9, 4, 20, 3, 3, {2, 1, 1, 1, 1, 1, 1}, {0.1f, 200, 0, 255}};
  }
  check(p);
}

TEST_CASE("a zero point that is no code is subtracted all the same") {
  Problem p;
  p.params.zero_point = -20;
  p.options.pad_h = 1;
  check(p, Fill::kRandom, Fill::kRandom);
}

TEST_CASE("integer convolution is exact past 2^24") {
  Problem p;
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
  for (const Fill x : {Fill::kHigh, Fill::kLow})
    for (const Fill w : {Fill::kHigh, Fill::kLow, Fill::kRandomEnds}) check(p, x, w);
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
