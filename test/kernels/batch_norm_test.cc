#include "kernels/batch_norm.h"

#include <catch2/catch.hpp>

#include "test/kernels/oracle.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

namespace {

constexpr float kEps = 1e-5f;

struct Case {
  int64_t rows, channels;
};
// Channel counts of the networks, odd ones, single rows and lengths beside the chunk bounds.
const std::vector<Case> kCases = {{1, 1},      {2, 3},      {64, 120},  {64, 84},   {50, 1024},
                                  {5000, 1},   {40001, 6},  {9001, 10}, {7000, 16}, {3001, 128},
                                  {1500, 512}, {1031, 129}, {33, 1000}, {2000, 63}};

struct Moments {
  std::vector<double> mean, variance;
};

Moments moments_of(const std::vector<float>& x, int64_t channels) {
  const size_t c = static_cast<size_t>(channels), rows = x.size() / c;
  Moments m{std::vector<double>(c), std::vector<double>(c)};
  for (size_t i = 0; i < x.size(); ++i) m.mean[i % c] += x[i];
  for (double& v : m.mean) v /= static_cast<double>(rows);
  for (size_t i = 0; i < x.size(); ++i) {
    m.variance[i % c] += (x[i] - m.mean[i % c]) * (x[i] - m.mean[i % c]);
  }
  for (double& v : m.variance) v /= static_cast<double>(rows);
  return m;
}

struct Problem {
  Tensor x, dy, weight, bias, mean, variance;
};

Problem problem(const Context& context, const Case& s) {
  Problem p;
  p.x = random_tensor(context, {s.rows, s.channels}, 21, -1.0f, 3.0f);
  p.dy = random_tensor(context, {s.rows, s.channels}, 22);
  p.weight = random_tensor(context, {s.channels}, 23);
  p.bias = random_tensor(context, {s.channels}, 24);
  p.mean = Tensor::full(context, {s.channels}, kNan);
  p.variance = Tensor::full(context, {s.channels}, kNan);
  kernels::batch_norm_statistics(p.x, p.mean, p.variance);
  return p;
}

kernels::Normalization norm_of(const Problem& p, const ActivationOptions& act) {
  return {p.mean, p.variance, kEps, &p.weight, &p.bias, act};
}

struct Gradients {
  std::vector<float> dx, dweight, dbias;
};

Gradients run_backward(const Problem& p, const Tensor* y, const ActivationOptions& act,
                       bool batch_statistics) {
  Tensor dx = like(p.x), dw = like(p.weight), db = like(p.bias);
  kernels::batch_norm_backward(p.dy, p.x, y, norm_of(p, act), batch_statistics, {&dx, &dw, &db});
  return {dx.to_vector<float>(), dw.to_vector<float>(), db.to_vector<float>()};
}

ActivationOptions options_of(Activation kind) {
  ActivationOptions options;
  options.kind = kind;
  return options;
}

struct Expected {
  std::vector<double> dx, dweight, dbias;
};

// Ioffe and Szegedy 2015, in double. `passed` is dy past the activation.
Expected backward_oracle(const Problem& p, const std::vector<double>& passed, bool coupled) {
  const auto x = p.x.to_vector<float>(), w = p.weight.to_vector<float>();
  const auto mean = p.mean.to_vector<float>(), variance = p.variance.to_vector<float>();
  const size_t c = w.size(), rows = x.size() / c;
  Expected e{std::vector<double>(x.size()), std::vector<double>(c), std::vector<double>(c)};
  auto inverse = [&](size_t k) { return 1.0 / std::sqrt(double{variance[k]} + double{kEps}); };
  auto normal = [&](size_t i) { return (double{x[i]} - mean[i % c]) * inverse(i % c); };
  for (size_t i = 0; i < x.size(); ++i) {
    e.dbias[i % c] += passed[i];
    e.dweight[i % c] += passed[i] * normal(i);
  }
  for (size_t i = 0; i < x.size(); ++i) {
    const double shared = (e.dbias[i % c] + normal(i) * e.dweight[i % c]) / double(rows);
    e.dx[i] = w[i % c] * inverse(i % c) * (passed[i] - (coupled ? shared : 0.0));
  }
  return e;
}

}  // namespace

TEST_CASE("batch norm statistics are within 1e-6 of double for every channel count") {
  for (const Case& s : kCases) {
    const Problem p = problem(with_threads(2), s);
    const Moments m = moments_of(p.x.to_vector<float>(), s.channels);
    CAPTURE(s.rows, s.channels);
    // The required accuracy. Floats are summed in chunks of some hundred per lane, then in double.
    REQUIRE(relative_error(p.mean.to_vector<float>(), m.mean) < 1e-6);
    REQUIRE(relative_error(p.variance.to_vector<float>(), m.variance) < 1e-6);
  }
}

TEST_CASE("batch norm variance survives a mean that is 4096 times the deviation") {
  const Context context = with_threads(2);
  // Values on a grid that float holds exactly at this offset: the input itself rounds nothing.
  auto values = random_integers(60000, 25, 1024);
  for (float& v : values) v = 4096.0f + v / 1024.0f;
  for (int64_t channels : {1, 6, 100}) {
    const Tensor x = Tensor::from<float>(context, {60000 / channels, channels}, values);
    Tensor mean = Tensor::empty(context, {channels}), variance = mean.clone();
    kernels::batch_norm_statistics(x, mean, variance);
    const Moments m = moments_of(values, channels);
    REQUIRE(relative_error(mean.to_vector<float>(), m.mean) < 1e-7);
    REQUIRE(relative_error(variance.to_vector<float>(), m.variance) < 1e-6);
  }
}

TEST_CASE("batch norm statistics of outliers in the rows that choose the shift") {
  const Context context;
  // Every fourth row is far away: the worst case for one pass about a sampled mean.
  std::vector<float> values = random_values(8 * 4096, 26, 0.0f, 1.0f);
  for (size_t i = 0; i < values.size(); ++i) values[i] += i / 64 % 4 == 0 ? 1000.0f : 0.0f;
  const Tensor x = Tensor::from<float>(context, {512, 64}, values);
  Tensor mean = Tensor::empty(context, {64}), variance = mean.clone();
  kernels::batch_norm_statistics(x, mean, variance);
  const Moments m = moments_of(values, 64);
  REQUIRE(relative_error(mean.to_vector<float>(), m.mean) < 1e-6);
  REQUIRE(relative_error(variance.to_vector<float>(), m.variance) < 2e-6);  // two bits fewer
}

TEST_CASE("a constant channel has no variance but the rounding of its mean") {
  const Context context = with_threads(2);
  const Tensor x = Tensor::full(context, {40000, 3}, 0.1f);
  Tensor mean = Tensor::empty(context, {3}), variance = mean.clone();
  kernels::batch_norm_statistics(x, mean, variance);
  for (float v : mean.to_vector<float>()) REQUIRE(v == Approx(0.1f).epsilon(1e-7));
  // 0.1f is no multiple of a power of two of few bits: the mean's own rounding is left.
  for (float v : variance.to_vector<float>()) REQUIRE(v < 1e-14f);
}

TEST_CASE("a NaN makes its channel's statistics NaN, and no other's") {
  const Context context = with_threads(2);
  Tensor x = random_tensor(context, {20000, 3}, 27);
  x.data<float>()[3 * 17777 + 1] = kNan;
  Tensor mean = Tensor::empty(context, {3}), variance = mean.clone();
  kernels::batch_norm_statistics(x, mean, variance);
  for (const auto& v : {mean.to_vector<float>(), variance.to_vector<float>()}) {
    REQUIRE(std::isfinite(v[0]));
    REQUIRE(std::isnan(v[1]));
    REQUIRE(std::isfinite(v[2]));
  }
}

TEST_CASE("batch norm has the same bits on 1, 2 and 3 threads") {
  for (const Case& s : std::vector<Case>{{40001, 6}, {3001, 128}, {100000, 1}, {1500, 512}}) {
    const ActivationOptions act = options_of(Activation::kHardtanh);
    std::vector<std::vector<float>> first;
    for (int threads : {1, 2, 3}) {
      const Problem p = problem(with_threads(threads), s);
      Tensor y = like(p.x);
      kernels::batch_norm_apply(p.x, norm_of(p, act), y);
      const Gradients g = run_backward(p, nullptr, act, true);
      const std::vector<std::vector<float>> all = {p.mean.to_vector<float>(),
                                                   p.variance.to_vector<float>(),
                                                   y.to_vector<float>(),
                                                   g.dx,
                                                   g.dweight,
                                                   g.dbias};
      if (threads == 1) first = all;
      for (size_t i = 0; i < all.size(); ++i) REQUIRE(same_bits(all[i], first[i]));
    }
  }
}

TEST_CASE("batch norm apply normalises, scales and activates") {
  for (const Case& s : kCases) {
    const Problem p = problem(with_threads(2), s);
    Tensor y = like(p.x), plain = like(p.x);
    kernels::batch_norm_apply(p.x, norm_of(p, options_of(Activation::kReLU)), y);
    kernels::batch_norm_apply(p.x, {p.mean, p.variance, kEps, nullptr, nullptr, {}}, plain);
    const auto x = p.x.to_vector<float>(), w = p.weight.to_vector<float>();
    const auto b = p.bias.to_vector<float>(), mean = p.mean.to_vector<float>();
    const auto variance = p.variance.to_vector<float>();
    std::vector<double> normal(x.size()), activated(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t c = i % w.size();
      normal[i] = (double{x[i]} - mean[c]) / std::sqrt(double{variance[c]} + double{kEps});
      activated[i] = std::fmax(0.0, normal[i] * w[c] + b[c]);
    }
    CAPTURE(s.rows, s.channels);
    // Four float roundings of values no larger than the largest result.
    REQUIRE(relative_error(plain.to_vector<float>(), normal) < 4e-7);
    REQUIRE(relative_error(y.to_vector<float>(), activated) < 4e-7);
  }
}

TEST_CASE("batch norm and sign give the signs of batch norm") {
  for (const Case& s : kCases) {
    const Problem p = problem(with_threads(2), s);
    Tensor y = like(p.x), signs = like(p.x);
    const auto norm = norm_of(p, options_of(Activation::kHardtanh));
    kernels::batch_norm_apply(p.x, norm, y);
    kernels::batch_norm_sign(p.x, norm, signs);
    std::vector<float> want = y.to_vector<float>();
    for (float& v : want) v = v >= 0.0f ? 1.0f : -1.0f;
    REQUIRE(signs.to_vector<float>() == want);
  }
}

TEST_CASE("batch norm apply writes large results, past the cache, with the bits of small ones") {
  const Context context;
  for (const int64_t channels : {16, 10, 63}) {  // whole vectors, and rows that have none
    const int64_t half = (int64_t{1} << 20) / channels - 3;
    const Problem p = problem(context, {2 * half, channels});
    const kernels::Normalization norm = norm_of(p, {});
    Tensor y = Tensor::full(context, p.x.shape(), kNan);
    Tensor small = Tensor::empty(context, {half, channels});
    kernels::batch_norm_apply(p.x, norm, y);
    for (const int64_t from : {int64_t{0}, half}) {
      kernels::batch_norm_apply(p.x.slice(from, from + half), norm, small);
      REQUIRE(y.slice(from, from + half).to_vector<float>() == small.to_vector<float>());
    }
  }
}

TEST_CASE("batch norm backward agrees with double, in training and in evaluation") {
  for (const Case& s : kCases) {
    const Problem p = problem(with_threads(2), s);
    for (Activation kind : {Activation::kIdentity, Activation::kReLU, Activation::kHardtanh}) {
      const ActivationOptions act = options_of(kind);
      Tensor y = like(p.x);
      kernels::batch_norm_apply(p.x, norm_of(p, act), y);
      const auto out = y.to_vector<float>(), dy = p.dy.to_vector<float>();
      std::vector<double> passed(out.size());
      for (size_t i = 0; i < out.size(); ++i) {
        const bool flows = kind == Activation::kIdentity ||
                           (kind == Activation::kReLU ? out[i] > 0 : std::fabs(out[i]) < 1);
        passed[i] = flows ? dy[i] : 0.0;
      }
      for (bool training : {true, false}) {
        const Gradients g = run_backward(p, nullptr, act, training);
        const Expected e = backward_oracle(p, passed, training);
        CAPTURE(s.rows, s.channels, static_cast<int>(kind), training);
        // One row, or two, normalise to a constant: dx is 0 and its float value only noise.
        if (s.rows > 2) REQUIRE(relative_error(g.dx, e.dx) < 2e-6);
        // Sums of +-values lose some bits to cancellation; 1e-5 is what the modules are held to.
        REQUIRE(relative_error(g.dbias, e.dbias) < 1e-5);
        if (s.rows > 1) REQUIRE(relative_error(g.dweight, e.dweight) < 1e-5);
      }
    }
  }
}

TEST_CASE("batch norm backward of a sum gives the addend dy past the activation") {
  for (const Case& s : std::vector<Case>{{40001, 6}, {3001, 128}, {1031, 129}}) {
    for (Activation kind : {Activation::kReLU, Activation::kHardtanh}) {
      const ActivationOptions act = options_of(kind);
      Problem p = problem(with_threads(2), s);
      const Tensor addend = random_tensor(p.x.context(), p.x.shape(), 28);
      Tensor y = like(p.x), passed = like(p.x), own = p.dy.clone(), dx = like(p.x);
      kernels::batch_norm_apply(p.x, norm_of(p, act), y, &addend);
      kernels::activation_backward(p.dy, y, act, passed);
      const Gradients direct = run_backward(p, &y, act, true);
      Tensor dw = like(p.weight), db = like(p.weight);
      kernels::batch_norm_backward(own, p.x, &y, norm_of(p, act), true, {&dx, &dw, &db, &own});
      REQUIRE(same_bits(own.to_vector<float>(), passed.to_vector<float>()));
      p.dy = passed;
      const Gradients steps = run_backward(p, &y, {}, true);
      REQUIRE(same_bits(dx.to_vector<float>(), steps.dx));
      REQUIRE(same_bits(dw.to_vector<float>(), steps.dweight));
      REQUIRE(same_bits(db.to_vector<float>(), steps.dbias));
      REQUIRE(same_bits(dx.to_vector<float>(), direct.dx));
    }
  }
}

TEST_CASE("running statistics take the unbiased variance") {
  const Context context;
  const Tensor mean = Tensor::from<float>(context, {2}, {4, -8});
  const Tensor variance = Tensor::from<float>(context, {2}, {3, 6});
  Tensor running_mean = Tensor::from<float>(context, {2}, {0, 8});
  Tensor running_variance = Tensor::from<float>(context, {2}, {1, 2});
  kernels::batch_norm_update(mean, variance, 4, 0.25f, running_mean, running_variance);
  REQUIRE(running_mean.to_vector<float>() == std::vector<float>{1, 4});
  REQUIRE(running_variance.to_vector<float>() == std::vector<float>{1.75f, 3.5f});
}

TEST_CASE("batch norm says what is wrong") {
  const Context context;
  Tensor x = Tensor::zeros(context, {2, 5, 7, 3}), c3 = Tensor::zeros(context, {3});
  Tensor c4 = Tensor::zeros(context, {4}), none = Tensor::zeros(context, {0, 5, 7, 3});
  REQUIRE_THAT(error_of([&] { kernels::batch_norm_statistics(x, c4, c4); }),
               Contains("[3]") && Contains("[4]"));
  REQUIRE_THAT(error_of([&] { kernels::batch_norm_statistics(none, c3, c3); }),
               Contains("[0, 3, 5, 7]"));
  REQUIRE_THAT(error_of([&] { kernels::batch_norm_update(c3, c3, 1, 0.1f, c3, c3); }),
               Contains("more than 1 value per channel"));
}
