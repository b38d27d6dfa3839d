#include "kernels/pool.h"

#include <catch2/catch.hpp>

#include "test/kernels/oracle.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

namespace {

struct Case {
  Shape x;
  Pool2dOptions options;
};

Pool2dOptions window(int kernel, int stride, int pad = 0, bool ceil_mode = false) {
  Pool2dOptions o;
  o.kernel_h = o.kernel_w = kernel;
  o.stride_h = o.stride_w = stride;
  o.pad_h = o.pad_w = pad;
  o.ceil_mode = ceil_mode;
  return o;
}

Pool2dOptions oblong() {
  Pool2dOptions o;
  o.kernel_h = 2, o.kernel_w = 3, o.stride_h = 1, o.stride_w = 2, o.pad_h = 1, o.pad_w = 0;
  return o;
}

const std::vector<Case> kCases = {{{2, 8, 8, 6}, window(2, 2)},
                                  {{3, 28, 28, 1}, window(2, 2)},
                                  {{2, 7, 9, 16}, window(2, 2)},
                                  {{2, 7, 9, 33}, window(2, 2, 1)},
                                  {{1, 9, 8, 10}, window(3, 2, 1)},
                                  {{2, 6, 5, 3}, window(3, 1, 1)},
                                  {{2, 11, 10, 40}, window(3, 2)},
                                  {{1, 8, 8, 5}, window(2, 3)},
                                  {{2, 5, 6, 7}, oblong()},
                                  {{1, 6, 7, 8}, window(3, 2, 0, true)},
                                  {{2, 5, 5, 129}, window(3, 3, 1, true)},
                                  {{1, 15, 15, 2}, window(15, 1, 7)},
                                  {{5, 32, 32, 64}, window(2, 2)},
                                  {{4, 4, 4, 2}, window(1, 1)}};

// The windows of one output as the definition has them.
struct Window {
  int64_t h0, h1, w0, w1;  // inside the image
  double divisor;
};

Window window_at(const Case& s, const Shape& y, int64_t oh, int64_t ow) {
  (void)y;
  const Pool2dOptions& o = s.options;
  const int64_t h = oh * o.stride_h - o.pad_h, w = ow * o.stride_w - o.pad_w;
  Window r{std::max<int64_t>(h, 0), std::min(h + o.kernel_h, s.x[1]), std::max<int64_t>(w, 0),
           std::min(w + o.kernel_w, s.x[2]), 0.0};
  const int64_t padded_h = std::min(h + o.kernel_h, s.x[1] + o.pad_h) - h;
  const int64_t padded_w = std::min(w + o.kernel_w, s.x[2] + o.pad_w) - w;
  r.divisor = static_cast<double>(o.count_include_pad ? padded_h * padded_w
                                                      : (r.h1 - r.h0) * (r.w1 - r.w0));
  return r;
}

// Calls body(output index, input index, window, tap) for every pair of an output and a covered
// input.
template <class Body>
void for_pairs(const Case& s, const Shape& y, Body body) {
  for (int64_t i = 0; i < y.numel(); ++i) {
    const int64_t c = i % y[3], ow = i / y[3] % y[2], oh = i / y[3] / y[2] % y[1];
    const int64_t n = i / (y[1] * y[2] * y[3]);
    const Window r = window_at(s, y, oh, ow);
    for (int64_t h = r.h0; h < r.h1; ++h) {
      for (int64_t w = r.w0; w < r.w1; ++w) {
        const int64_t tap = (h - oh * s.options.stride_h + s.options.pad_h) * s.options.kernel_w +
                            w - ow * s.options.stride_w + s.options.pad_w;
        body(static_cast<size_t>(i),
             static_cast<size_t>(((n * s.x[1] + h) * s.x[2] + w) * s.x[3] + c), r, tap);
      }
    }
  }
}

struct MaxOracle {
  std::vector<float> y, dx;
  std::vector<int64_t> taps;
};

// torch: a value wins when it is larger than the best so far, or NaN. The sums of dx are in the
// order of the outputs.
MaxOracle max_oracle(const Case& s, const Shape& shape, const std::vector<float>& x,
                     const std::vector<float>& dy) {
  const size_t count = static_cast<size_t>(shape.numel());
  MaxOracle r{std::vector<float>(count, -kInf), std::vector<float>(x.size()),
              std::vector<int64_t>(count, -1)};
  std::vector<size_t> winner(count);
  for_pairs(s, shape, [&](size_t out, size_t in, const Window&, int64_t tap) {
    if (r.taps[out] < 0 || x[in] > r.y[out] || std::isnan(x[in])) {
      r.y[out] = x[in];
      r.taps[out] = tap;
      winner[out] = in;
    }
  });
  for (size_t i = 0; i < count; ++i) r.dx[winner[i]] += dy[i];
  return r;
}

bool equal_or_nan(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i] && !(std::isnan(a[i]) && std::isnan(b[i]))) return false;
  }
  return true;
}

void check_max(const Context& context, const Case& s, const std::vector<float>& values) {
  const Tensor x = Tensor::from<float>(context, s.x, values);
  const Shape shape = pool2d_shape(s.x, s.options);
  const Tensor dy = Tensor::from<float>(context, shape, random_integers(shape.numel(), 31));
  const MaxOracle expected = max_oracle(s, shape, values, dy.to_vector<float>());
  Tensor y = Tensor::full(context, shape, kNan), plain = y.clone(), dx = like(x);
  Tensor taps = Tensor::zeros(context, shape, DType::kUInt8);
  kernels::max_pool2d(x, s.options, plain);
  kernels::max_pool2d_with_taps(x, s.options, y, taps);
  kernels::max_pool2d_backward(dy, y, taps, s.options, dx);
  CAPTURE(s.x.str(), s.options.kernel_h, s.options.stride_h, s.options.pad_h, context.threads());
  REQUIRE(equal_or_nan(plain.to_vector<float>(), expected.y));
  REQUIRE(equal_or_nan(y.to_vector<float>(), expected.y));
  const auto t = taps.to_vector<uint8_t>();
  REQUIRE(std::vector<int64_t>(t.begin(), t.end()) == expected.taps);
  REQUIRE(dx.to_vector<float>() == expected.dx);
}

}  // namespace

TEST_CASE("max pool takes the first maximum and sends the gradient back to it, exactly") {
  for (int threads : {1, 3}) {
    for (const Case& s : kCases) {
      check_max(with_threads(threads), s, random_integers(s.x.numel(), 32));  // many ties
      check_max(with_threads(threads), s, random_values(s.x.numel(), 33));
    }
  }
}

TEST_CASE("max pool: NaN wins, and a window of -inf has its first pixel win") {
  for (const Case& s : kCases) {
    auto values = random_values(s.x.numel(), 34);
    for (size_t i = 0; i < values.size(); ++i) {
      if (i % 11 == 3) values[i] = kNan;
      if (i % 5 == 1) values[i] = -kInf;
    }
    check_max(with_threads(2), s, values);
    check_max(with_threads(2), s, std::vector<float>(values.size(), -kInf));
  }
}

TEST_CASE("max pool with an activation gives the bits of the two, one after the other") {
  const Context context = with_threads(2);
  for (Activation kind : {Activation::kReLU, Activation::kReLU6, Activation::kHardtanh}) {
    for (Case s : kCases) {
      auto values = random_values(s.x.numel(), 40);
      for (size_t i = 0; i < values.size(); ++i) {
        if (i % 11 == 3) values[i] = kNan;
        if (i % 5 == 1) values[i] *= 10.0f;
      }
      const Tensor x = Tensor::from<float>(context, s.x, values);
      const Shape shape = pool2d_shape(s.x, s.options);
      const Tensor dy = random_tensor(context, shape, 41);
      ActivationOptions act;
      act.kind = kind;
      const auto step = [&](const Tensor& in, const ActivationOptions& inside, Tensor& y) {
        s.options.act = inside;
        Tensor taps = Tensor::zeros(context, shape, DType::kUInt8), dx = like(x);
        kernels::max_pool2d_with_taps(in, s.options, y, taps);
        kernels::max_pool2d_backward(dy, y, taps, s.options, dx);
        return dx;
      };
      Tensor active = like(x), y = like(dy), expected_y = like(dy), expected = like(x);
      kernels::activation(x, act, active);
      kernels::activation_backward(step(active, {}, expected_y), active, act, expected);
      CAPTURE(static_cast<int>(kind), s.x.str(), s.options.kernel_h, s.options.stride_h);
      REQUIRE(step(x, act, y).to_vector<float>() == expected.to_vector<float>());
      REQUIRE(equal_or_nan(y.to_vector<float>(), expected_y.to_vector<float>()));
    }
  }
}

TEST_CASE("max pool of codes picks what max pool of their values picks") {
  const Context context = with_threads(2);
  for (const Case& s : kCases) {
    auto values = random_integers(s.x.numel(), 35, 127);
    for (float& v : values) v += 127.0f;
    const std::vector<uint8_t> bytes(values.begin(), values.end());
    const Tensor x = Tensor::from<uint8_t>(context, s.x, bytes);
    const Shape shape = pool2d_shape(s.x, s.options);
    Tensor y = Tensor::zeros(context, shape, DType::kUInt8), taps = y.clone(), plain = y.clone();
    kernels::max_pool2d(x, s.options, plain);
    kernels::max_pool2d_with_taps(x, s.options, y, taps);
    const std::vector<float> none(static_cast<size_t>(shape.numel()));
    const MaxOracle expected = max_oracle(s, shape, values, none);
    const auto t = taps.to_vector<uint8_t>();
    CAPTURE(s.x.str());
    REQUIRE(y.to_vector<uint8_t>() == std::vector<uint8_t>(expected.y.begin(), expected.y.end()));
    REQUIRE(plain.to_vector<uint8_t>() == y.to_vector<uint8_t>());
    REQUIRE(std::vector<int64_t>(t.begin(), t.end()) == expected.taps);
  }
}

TEST_CASE("average pool and its gradient agree with double, padding counted or not") {
  for (Case s : kCases) {
    for (bool count_pad : {true, false}) {
      s.options.count_include_pad = count_pad;
      const Tensor x = random_tensor(with_threads(2), s.x, 36);
      const Shape shape = pool2d_shape(s.x, s.options);
      const Tensor dy = random_tensor(x.context(), shape, 37);
      Tensor y = Tensor::full(x.context(), shape, kNan), dx = like(x);
      kernels::avg_pool2d(x, s.options, y);
      kernels::avg_pool2d_backward(dy, s.options, dx);
      const auto xv = x.to_vector<float>(), g = dy.to_vector<float>();
      std::vector<double> ey(g.size()), edx(xv.size());
      for_pairs(s, shape, [&](size_t out, size_t in, const Window& r, int64_t) {
        ey[out] += xv[in] / r.divisor;
        edx[in] += g[out] / r.divisor;
      });
      CAPTURE(s.x.str(), s.options.kernel_h, count_pad);
      // At most 225 terms of one window, or windows of one pixel, added in float.
      REQUIRE(relative_error(y.to_vector<float>(), ey) < 1e-6);
      REQUIRE(relative_error(dx.to_vector<float>(), edx) < 1e-6);
    }
  }
}

TEST_CASE("adaptive average pool uses PyTorch's windows, larger outputs included") {
  for (auto [h, w, oh, ow, c] : std::vector<std::array<int64_t, 5>>{
           {8, 8, 1, 1, 64}, {7, 10, 3, 4, 5}, {5, 4, 5, 4, 1}, {3, 2, 5, 7, 6}, {1, 1, 2, 2, 3}}) {
    const Tensor x = random_tensor(with_threads(2), {3, h, w, c}, 38);
    const Tensor dy = random_tensor(x.context(), {3, oh, ow, c}, 39);
    Tensor y = like(dy), dx = like(x);
    kernels::adaptive_avg_pool2d(x, y);
    kernels::adaptive_avg_pool2d_backward(dy, dx);
    const auto xv = x.to_vector<float>(), g = dy.to_vector<float>();
    std::vector<double> ey(g.size()), edx(xv.size());
    auto begin = [](int64_t o, int64_t in, int64_t out) { return o * in / out; };
    auto end = [](int64_t o, int64_t in, int64_t out) { return ((o + 1) * in + out - 1) / out; };
    for (int64_t i = 0; i < dy.numel(); ++i) {
      const int64_t k = i % c, q = i / c % ow, p = i / c / ow % oh, n = i / c / ow / oh;
      const int64_t h0 = begin(p, h, oh), h1 = end(p, h, oh);
      const int64_t w0 = begin(q, w, ow), w1 = end(q, w, ow);
      for (int64_t a = h0; a < h1; ++a) {
        for (int64_t b = w0; b < w1; ++b) {
          const size_t in = static_cast<size_t>(((n * h + a) * w + b) * c + k);
          ey[static_cast<size_t>(i)] += xv[in] / double((h1 - h0) * (w1 - w0));
          edx[in] += g[static_cast<size_t>(i)] / double((h1 - h0) * (w1 - w0));
        }
      }
    }
    CAPTURE(h, w, oh, ow, c);
    REQUIRE(relative_error(y.to_vector<float>(), ey) < 1e-6);  // at most 64 terms, in float
    REQUIRE(relative_error(dx.to_vector<float>(), edx) < 1e-6);
  }
}

TEST_CASE("pooled shapes follow PyTorch's floor and ceil rules") {
  REQUIRE(pool2d_shape({1, 7, 8, 3}, window(2, 2)) == Shape{1, 3, 4, 3});
  REQUIRE(pool2d_shape({1, 7, 8, 3}, window(2, 2, 0, true)) == Shape{1, 4, 4, 3});
  // The window that ceil would add starts in the right padding: dropped.
  REQUIRE(pool2d_shape({1, 3, 3, 1}, window(2, 2, 1, true)) == Shape{1, 2, 2, 1});
  REQUIRE(pool2d_shape({1, 4, 4, 1}, window(2, 2, 1, true)) == Shape{1, 3, 3, 1});
  REQUIRE(pool2d_shape({0, 4, 4, 1}, window(2, 2)) == Shape{0, 2, 2, 1});
}

TEST_CASE("pooling an empty batch is nothing") {
  const Context context = with_threads(2);
  Tensor x = Tensor::empty(context, {0, 4, 4, 8}), y = Tensor::empty(context, {0, 2, 2, 8});
  kernels::max_pool2d(x, window(2, 2), y);
  kernels::avg_pool2d(x, window(2, 2), y);
  kernels::avg_pool2d_backward(y, window(2, 2), x);
  REQUIRE(y.numel() == 0);
}

TEST_CASE("pooling says what is wrong, in PyTorch's axis order") {
  const Context context;
  REQUIRE_THAT(error_of([&] {
                 pool2d_shape({1, 1, 4, 3}, window(2, 2));
               }),
               Contains("[1, 3, 1, 4]"));
  REQUIRE_THAT(error_of([&] {
                 pool2d_shape({1, 8, 8, 3}, window(2, 2, 2));
               }),
               Contains("padding at most half"));
  REQUIRE_THAT(error_of([&] { pool2d_shape({1, 8, 8, 3}, window(2, 0)); }), Contains("stride"));
  Tensor x = Tensor::zeros(context, {1, 8, 8, 3}), y = Tensor::zeros(context, {1, 4, 3, 3});
  REQUIRE_THAT(error_of([&] { kernels::max_pool2d(x, window(2, 2), y); }),
               Contains("[1, 3, 4, 4]") && Contains("[1, 3, 4, 3]"));
  Tensor words = Tensor::zeros(context, {1, 8, 8, 3}, DType::kInt32);
  Tensor result = Tensor::zeros(context, {1, 4, 4, 3}, DType::kInt32);
  REQUIRE_THAT(error_of([&] { kernels::max_pool2d(words, window(2, 2), result); }),
               Contains("int32"));
  Tensor large = Tensor::zeros(context, {1, 17, 17, 1}), one = Tensor::zeros(context, {1, 1, 1, 1});
  Tensor tap = Tensor::zeros(context, {1, 1, 1, 1}, DType::kUInt8);
  REQUIRE_THAT(error_of([&] { kernels::max_pool2d_with_taps(large, window(17, 1), one, tap); }),
               Contains("17x17"));
}

TEST_CASE("accumulators: channels whose factor is negative take the first minimum") {
  for (int threads : {1, 3}) {
    const Context context = with_threads(threads);
    for (const Case& s : kCases) {
      const std::vector<float> values = random_integers(s.x.numel(), 7);
      std::vector<int32_t> acc(values.begin(), values.end());
      acc[0] = std::numeric_limits<int32_t>::min();
      acc.back() = std::numeric_limits<int32_t>::max();
      std::vector<char> falling;
      std::vector<float> signed_values;
      for (int64_t c = 0; c < s.x[3]; ++c) falling.push_back(c % 3 == 1);
      for (size_t i = 0; i < acc.size(); ++i)
        signed_values.push_back(static_cast<float>(acc[i]) * (falling[i % s.x[3]] ? -1.0f : 1.0f));
      const Shape shape = pool2d_shape(s.x, s.options);
      const MaxOracle expected =
          max_oracle(s, shape, signed_values, std::vector<float>(shape.numel()));
      Tensor y = Tensor::empty(context, shape, DType::kInt32), plain = y.clone();
      Tensor taps = Tensor::zeros(context, shape, DType::kUInt8);
      const Tensor x = Tensor::from<int32_t>(context, s.x, acc);
      kernels::max_pool2d_accumulators(x, falling, s.options, y, &taps);
      kernels::max_pool2d_accumulators(x, falling, s.options, plain, nullptr);
      REQUIRE(y.to_vector<int32_t>() == plain.to_vector<int32_t>());
      for (int64_t i = 0; i < y.numel(); ++i) {
        const float sign = falling[i % s.x[3]] ? -1.0f : 1.0f;
        REQUIRE(static_cast<float>(y.data<int32_t>()[i]) * sign == expected.y[i]);
        REQUIRE(taps.data<uint8_t>()[i] == expected.taps[i]);
      }
    }
  }
}

TEST_CASE("windows whose taps do not fit in a byte are refused") {
  const Context context;
  Pool2dOptions o;
  o.kernel_h = o.kernel_w = o.stride_h = o.stride_w = 17;
  const Tensor acc = Tensor::zeros(context, {1, 17, 17, 2}, DType::kInt32);
  Tensor y = Tensor::zeros(context, {1, 1, 1, 2}, DType::kInt32);
  Tensor taps = Tensor::zeros(context, {1, 1, 1, 2}, DType::kUInt8);
  REQUIRE_NOTHROW(kernels::max_pool2d_accumulators(acc, {0, 1}, o, y, nullptr));
  REQUIRE_THROWS_WITH(kernels::max_pool2d_accumulators(acc, {0, 1}, o, y, &taps),
                      Catch::Contains("at most 256 pixels") && Catch::Contains("17x17"));
  REQUIRE_THROWS_WITH(kernels::max_pool2d_accumulators(acc, {0}, o, y, nullptr),
                      Catch::Contains("a mark for each of 2 channels"));
}
