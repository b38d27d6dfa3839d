#include "kernels/elementwise.h"

#include <catch2/catch.hpp>

#include "test/kernels/oracle.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

namespace {

// 100003: three threads' worth of work, with a tail that no vector length divides.
const std::vector<int64_t> kSizes = {0, 1, 7, 64, 1000, 100003};

// The tensor (d0, d1, d2) of 4- or 1-byte values with axes 1 and 2 exchanged.
template <class T>
std::vector<T> swapped(const std::vector<T>& x, int64_t d0, int64_t d1, int64_t d2) {
  std::vector<T> y(x.size());
  for (int64_t n = 0; n < d0; ++n) {
    for (int64_t i = 0; i < d1; ++i) {
      for (int64_t j = 0; j < d2; ++j) y[(n * d2 + j) * d1 + i] = x[(n * d1 + i) * d2 + j];
    }
  }
  return y;
}

template <class T>
std::vector<T> counted(int64_t n) {
  std::vector<T> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(i * 7 + i / 251);
  return values;
}

template <class T>
void check_permutes(const Context& context, int64_t n, int64_t h, int64_t w, int64_t c) {
  CAPTURE(n, h, w, c, sizeof(T), context.threads());
  const std::vector<T> values = counted<T>(n * h * w * c);
  const Tensor x = Tensor::from<T>(context, {n, h, w, c}, values);
  Tensor planes = Tensor::zeros(context, {n, c, h, w}, DTypeOf<T>::value);
  kernels::nhwc_to_nchw(x, planes);
  REQUIRE(planes.template to_vector<T>() == swapped(values, n, h * w, c));
  Tensor back = Tensor::zeros(context, {n, h, w, c}, DTypeOf<T>::value);
  kernels::nchw_to_nhwc(planes, back);
  REQUIRE(back.template to_vector<T>() == values);
}

}  // namespace

TEST_CASE("add, mul, scale and accumulate compute each element as float does") {
  const Context context = with_threads(3);
  for (int64_t n : kSizes) {
    const Tensor a = random_tensor(context, {n}, 1), b = random_tensor(context, {n}, 2);
    Tensor sum = like(a), product = like(a), scaled = like(a), total = b.clone();
    kernels::add(a, b, sum);
    kernels::mul(a, b, product);
    kernels::scale(a, 0.3f, scaled);
    kernels::accumulate(a, total);
    const auto av = a.to_vector<float>(), bv = b.to_vector<float>();
    std::vector<float> s(av.size()), p(av.size()), f(av.size());
    for (size_t i = 0; i < av.size(); ++i) {
      s[i] = av[i] + bv[i];
      p[i] = av[i] * bv[i];
      f[i] = av[i] * 0.3f;
    }
    CAPTURE(n);
    REQUIRE(same_bits(sum.to_vector<float>(), s));
    REQUIRE(same_bits(product.to_vector<float>(), p));
    REQUIRE(same_bits(scaled.to_vector<float>(), f));
    REQUIRE(same_bits(total.to_vector<float>(), s));
  }
}

TEST_CASE("elementwise kernels may write over an operand") {
  Tensor a = random_tensor(with_threads(2), {70001}, 3);
  const auto before = a.to_vector<float>();
  kernels::add(a, a, a);
  const auto after = a.to_vector<float>();
  for (size_t i = 0; i < after.size(); ++i) REQUIRE(after[i] == 2.0f * before[i]);
}

TEST_CASE("sum agrees with long double and does not depend on the thread count") {
  for (int64_t n : {int64_t{0}, int64_t{5}, int64_t{65536}, int64_t{300001}}) {
    const auto values = random_values(n, 4, 0.0f, 1.0f);
    long double expected = 0.0L;
    for (float v : values) expected += v;
    const double one = kernels::sum(Tensor::from<float>(with_threads(1), {n}, values));
    // Floats added in double: at most n 2^-53 off, relatively.
    REQUIRE(std::fabs(one - static_cast<double>(expected)) <= 1e-10 * (1.0 + one));
    for (int threads : {2, 3}) {
      REQUIRE(kernels::sum(Tensor::from<float>(with_threads(threads), {n}, values)) == one);
    }
  }
}

TEST_CASE("all_finite finds one infinity or NaN anywhere") {
  const Context context = with_threads(2);
  Tensor x = Tensor::full(context, {70001}, 1e38f);
  REQUIRE(kernels::all_finite(x));
  for (float bad : {kNan, kInf, -kInf}) {
    for (int64_t at : {0, 15, 65535, 65536, 70000}) {
      x.data<float>()[at] = bad;
      REQUIRE_FALSE(kernels::all_finite(x));
      x.data<float>()[at] = -0.0f;
    }
  }
  REQUIRE(kernels::all_finite(x));
  REQUIRE(kernels::all_finite(Tensor::empty(context, {0})));
}

TEST_CASE("layout permutes are exact for 4-byte and 1-byte values of any size") {
  for (int threads : {1, 3}) {
    const Context context = with_threads(threads);
    for (auto [n, h, w, c] : std::vector<std::array<int64_t, 4>>{{1, 1, 1, 1},
                                                                 {2, 3, 5, 7},
                                                                 {3, 4, 4, 512},
                                                                 {2, 28, 28, 1},
                                                                 {1, 17, 19, 33},
                                                                 {0, 4, 4, 8},
                                                                 {5, 8, 8, 16}}) {
      check_permutes<float>(context, n, h, w, c);
      check_permutes<uint8_t>(context, n, h, w, c);
      check_permutes<int64_t>(context, n, h, w, c);
    }
  }
}

TEST_CASE("concat puts channels side by side and split takes them apart") {
  const Context context = with_threads(2);
  const Tensor a = Tensor::from<uint8_t>(context, {2, 3, 1}, {1, 2, 3, 4, 5, 6});
  const Tensor b = Tensor::from<uint8_t>(context, {2, 3, 2}, counted<uint8_t>(12));
  Tensor y = Tensor::zeros(context, {2, 3, 3}, DType::kUInt8);
  kernels::concat_channels({a, b}, y);
  const auto joined = y.to_vector<uint8_t>();
  for (size_t row = 0; row < 6; ++row) {
    REQUIRE(joined[3 * row] == row + 1);
    REQUIRE(joined[3 * row + 1] == b.to_vector<uint8_t>()[2 * row]);
    REQUIRE(joined[3 * row + 2] == b.to_vector<uint8_t>()[2 * row + 1]);
  }
  std::vector<Tensor> parts = {Tensor::zeros(context, a.shape(), DType::kUInt8),
                               Tensor::zeros(context, b.shape(), DType::kUInt8)};
  kernels::split_channels(y, parts);
  REQUIRE(parts[0].to_vector<uint8_t>() == a.to_vector<uint8_t>());
  REQUIRE(parts[1].to_vector<uint8_t>() == b.to_vector<uint8_t>());
}

TEST_CASE("subsample_pad takes every second pixel and centres the channels") {
  const Context context = with_threads(2);
  const int64_t n = 2, h = 5, w = 4, c = 3, before = 2, wide = 7;
  const Tensor x = random_tensor(context, {n, h, w, c}, 5);
  Tensor y = Tensor::full(context, {n, 3, 2, wide}, kNan), dx = like(x);
  kernels::subsample_pad(x, 2, before, y);
  kernels::subsample_pad_backward(y, 2, before, dx);
  const auto xv = x.to_vector<float>(), yv = y.to_vector<float>(), dv = dx.to_vector<float>();
  for (int64_t i = 0; i < y.numel(); ++i) {
    const int64_t channel = i % wide - before, ow = i / wide % 2, row = i / wide / 2;
    const int64_t at = (((row / 3) * h + row % 3 * 2) * w + ow * 2) * c + channel;
    REQUIRE(yv[i] == (channel >= 0 && channel < c ? xv[at] : 0.0f));
  }
  for (int64_t i = 0; i < x.numel(); ++i) {
    const bool taken = i / c % w % 2 == 0 && i / c / w % h % 2 == 0;
    REQUIRE(dv[i] == (taken ? xv[i] : 0.0f));
  }
}

TEST_CASE("subsample_pad fills with the code of zero") {
  const Context context;
  const Tensor x = Tensor::from<uint8_t>(context, {1, 1, 2, 1}, {9, 8});
  Tensor y = Tensor::zeros(context, {1, 1, 1, 3}, DType::kUInt8);
  kernels::subsample_pad(x, 2, 1, y, 128);
  REQUIRE(y.to_vector<uint8_t>() == std::vector<uint8_t>{128, 9, 128});
}

TEST_CASE("elementwise kernels name both shapes when they differ") {
  const Context context;
  Tensor a = Tensor::zeros(context, {2, 3}), b = Tensor::zeros(context, {3, 2});
  const std::string add = error_of([&] { kernels::add(a, b, a); });
  REQUIRE_THAT(add, Contains("add") && Contains("[2, 3]") && Contains("[3, 2]"));
  Tensor y = Tensor::zeros(context, {2, 4});
  REQUIRE_THAT(error_of([&] { kernels::concat_channels({a, a}, y); }), Contains("6 channels"));
  Tensor image = Tensor::zeros(context, {1, 4, 5, 3});
  REQUIRE_THAT(error_of([&] { kernels::subsample_pad(image, 2, 0, image); }),
               Contains("[1, 3, 2, 3]") && Contains("[1, 3, 4, 5]"));
}
