#include "kernels/loss.h"

#include <catch2/catch.hpp>

#include "test/kernels/oracle.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

namespace {

struct Batch {
  Tensor x, labels, dx;
  std::vector<float> values;
  std::vector<int64_t> label;
  size_t rows, classes;
};

Batch batch(int threads, int64_t rows, int64_t classes, float low = -8.0f, float high = 8.0f) {
  const Context context = with_threads(threads);
  Batch b;
  b.rows = static_cast<size_t>(rows), b.classes = static_cast<size_t>(classes);
  b.x = random_tensor(context, {rows, classes}, 41, low, high);
  b.values = b.x.to_vector<float>();
  for (size_t i = 0; i < b.rows; ++i) b.label.push_back(static_cast<int64_t>(i * 13 % b.classes));
  b.labels = Tensor::from<int64_t>(context, {rows}, b.label);
  b.dx = like(b.x);
  return b;
}

const std::vector<std::array<int64_t, 2>> kShapes = {{1, 1},   {1, 10},    {64, 10},
                                                     {7, 100}, {3000, 10}, {5, 5001}};

std::vector<double> log_softmax_oracle(const std::vector<float>& x, size_t classes) {
  std::vector<double> y(x.begin(), x.end());
  for (size_t r = 0; r < x.size(); r += classes) {
    double top = -HUGE_VAL, total = 0.0;
    for (size_t i = r; i < r + classes; ++i) top = std::fmax(top, y[i]);
    for (size_t i = r; i < r + classes; ++i) total += std::exp(y[i] - top);
    for (size_t i = r; i < r + classes; ++i) y[i] -= top + std::log(total);
  }
  return y;
}

std::vector<double> exponentials(std::vector<double> x) {
  for (double& v : x) v = std::exp(v);
  return x;
}

}  // namespace

TEST_CASE("softmax and log_softmax agree with double and do not overflow") {
  for (auto [rows, classes] : kShapes) {
    for (float reach : {8.0f, 1e4f}) {
      const Batch b = batch(2, rows, classes, -reach, reach);
      Tensor p = like(b.x), lp = like(b.x);
      kernels::softmax(b.x, p);
      kernels::log_softmax(b.x, lp);
      const auto expected = log_softmax_oracle(b.values, b.classes);
      CAPTURE(rows, classes, reach);
      // expf, x - max (2^-24 of 16 at most, where exp is not negligible) and one product in float.
      REQUIRE(relative_error(p.to_vector<float>(), exponentials(expected)) < 2e-6);
      REQUIRE(relative_error(lp.to_vector<float>(), expected) < 3e-7);
    }
  }
}

TEST_CASE("softmax gradients agree with double") {
  for (auto [rows, classes] : kShapes) {
    const Batch b = batch(2, rows, classes, -3.0f, 3.0f);
    const Tensor dy = random_tensor(b.x.context(), b.x.shape(), 42);
    const auto g = dy.to_vector<float>();
    Tensor p = like(b.x), lp = like(b.x), dp = like(b.x), dlp = like(b.x);
    kernels::softmax(b.x, p);
    kernels::log_softmax(b.x, lp);
    kernels::softmax_backward(dy, p, dp);
    kernels::log_softmax_backward(dy, lp, dlp);
    const auto q = exponentials(log_softmax_oracle(b.values, b.classes));
    std::vector<double> soft(q.size()), log_soft(q.size());
    for (size_t r = 0; r < q.size(); r += b.classes) {
      double dot = 0.0, sum = 0.0;
      for (size_t i = r; i < r + b.classes; ++i) dot += g[i] * q[i], sum += g[i];
      for (size_t i = r; i < r + b.classes; ++i) {
        soft[i] = (g[i] - dot) * q[i];
        log_soft[i] = g[i] - q[i] * sum;
      }
    }
    CAPTURE(rows, classes);
    if (classes == 1) continue;  // both are exactly 0: nothing to be relative to
    REQUIRE(relative_error(dp.to_vector<float>(), soft) < 2e-6);
    REQUIRE(relative_error(dlp.to_vector<float>(), log_soft) < 2e-6);
  }
}

TEST_CASE("cross entropy with label smoothing follows torch's formula") {
  for (auto [rows, classes] : kShapes) {
    for (float smoothing : {0.0f, 0.1f, 1.0f}) {
      Batch b = batch(2, rows, classes);
      const float loss = kernels::cross_entropy(b.x, b.labels, smoothing, b.dx);
      const auto lp = log_softmax_oracle(b.values, b.classes);
      const double s = smoothing, n = static_cast<double>(b.rows),
                   c = static_cast<double>(b.classes);
      double expected = 0.0;
      std::vector<double> dx(lp.size());
      for (size_t i = 0; i < lp.size(); ++i) {
        const bool own = static_cast<int64_t>(i % b.classes) == b.label[i / b.classes];
        const double target = (own ? 1.0 - s : 0.0) + s / c;
        expected -= target * lp[i] / n;
        dx[i] = (std::exp(lp[i]) - target) / n;
      }
      CAPTURE(rows, classes, smoothing);
      REQUIRE(std::fabs(loss - expected) <= 1e-6 * (1.0 + expected));
      // One class: the gradient is 0, and 1 / n is what it is the difference of.
      if (classes > 1) REQUIRE(relative_error(b.dx.to_vector<float>(), dx) < 2e-6);
    }
  }
}

TEST_CASE("cross entropy of huge logits is finite, of NaN is NaN") {
  const Context context;
  Tensor x = Tensor::from<float>(context, {2, 3}, {3e38f, -3e38f, 0, 0, 1e30f, 0});
  const Tensor labels = Tensor::from<int64_t>(context, {2}, {0, 1});
  Tensor dx = like(x);
  REQUIRE(kernels::cross_entropy(x, labels, 0.0f, dx) == 0.0f);
  for (float v : dx.to_vector<float>()) REQUIRE(v == 0.0f);
  x.data<float>()[4] = kNan;
  REQUIRE(std::isnan(kernels::cross_entropy(x, labels, 0.0f, dx)));
}

TEST_CASE("nll takes the label's log probability") {
  for (auto [rows, classes] : kShapes) {
    Batch b = batch(2, rows, classes);
    const float loss = kernels::nll(b.x, b.labels, b.dx);
    double expected = 0.0;
    std::vector<double> dx(b.values.size());
    for (size_t r = 0; r < b.rows; ++r) {
      const size_t at = r * b.classes + static_cast<size_t>(b.label[r]);
      expected -= b.values[at] / static_cast<double>(b.rows);
      dx[at] = -1.0 / static_cast<double>(b.rows);
    }
    REQUIRE(loss == Approx(expected).epsilon(1e-6));
    REQUIRE(relative_error(b.dx.to_vector<float>(), dx) < 1e-7);
  }
}

TEST_CASE("mse is the mean over elements") {
  for (int64_t n : {1, 77, 50001}) {
    const Tensor x = random_tensor(with_threads(2), {n}, 43);
    const Tensor target = random_tensor(x.context(), {n}, 44);
    Tensor dx = like(x);
    const float loss = kernels::mse(x, target, dx);
    const auto a = x.to_vector<float>(), t = target.to_vector<float>();
    double expected = 0.0;
    std::vector<double> gradient(a.size());
    for (size_t i = 0; i < a.size(); ++i) {
      const double d = double{a[i]} - double{t[i]};
      expected += d * d / static_cast<double>(n);
      gradient[i] = 2.0 * d / static_cast<double>(n);
    }
    REQUIRE(loss == Approx(expected).epsilon(1e-6));
    REQUIRE(relative_error(dx.to_vector<float>(), gradient) < 2e-7);
  }
}

TEST_CASE("squared hinge pulls the label up and the others down") {
  for (auto [rows, classes] : kShapes) {
    Batch b = batch(2, rows, classes, -2.0f, 2.0f);
    const float loss = kernels::squared_hinge(b.x, b.labels, b.dx);
    const double count = static_cast<double>(b.values.size());
    double expected = 0.0;
    std::vector<double> dx(b.values.size());
    for (size_t i = 0; i < dx.size(); ++i) {
      const double t = static_cast<int64_t>(i % b.classes) == b.label[i / b.classes] ? 1.0 : -1.0;
      const double violation = std::fmax(0.0, 1.0 - t * b.values[i]);
      expected += violation * violation / count;
      dx[i] = -2.0 * t * violation / count;
    }
    REQUIRE(loss == Approx(expected).epsilon(1e-6));
    REQUIRE(relative_error(b.dx.to_vector<float>(), dx) < 3e-7);
  }
}

TEST_CASE("losses have the same bits on 1, 2 and 3 threads") {
  std::vector<std::vector<float>> first;
  for (int threads : {1, 2, 3}) {
    Batch b = batch(threads, 3000, 10);
    std::vector<std::vector<float>> all;
    all.push_back({kernels::cross_entropy(b.x, b.labels, 0.1f, b.dx)});
    all.push_back(b.dx.to_vector<float>());
    all.push_back({kernels::squared_hinge(b.x, b.labels, b.dx), kernels::mse(b.x, b.x, b.dx)});
    if (threads == 1) first = all;
    for (size_t i = 0; i < all.size(); ++i) REQUIRE(same_bits(all[i], first[i]));
  }
}

TEST_CASE("count_correct: the lowest index wins a tie, a NaN is never right") {
  const Context context;
  const Tensor x = Tensor::from<float>(
      context, {6, 3}, {1, 3, 3, 1, 3, 3, kNan, 0, 9, 0, 9, kNan, -kInf, -kInf, -kInf, 5, 1, 2});
  const Tensor labels = Tensor::from<int64_t>(context, {6}, {1, 2, 2, 1, 0, 0});
  REQUIRE(kernels::count_correct(x, labels) == 3);  // rows 0, 4 and 5
  const Batch b = batch(3, 5000, 10);
  int64_t expected = 0;
  for (size_t r = 0; r < b.rows; ++r) {
    const auto row = b.values.begin() + static_cast<std::ptrdiff_t>(r * 10);
    expected += std::max_element(row, row + 10) - row == b.label[r] ? 1 : 0;
  }
  REQUIRE(kernels::count_correct(b.x, b.labels) == expected);
}

TEST_CASE("a label out of range is named with its index") {
  const Context context;
  Tensor x = Tensor::zeros(context, {3, 10});
  const Tensor high = Tensor::from<int64_t>(context, {3}, {0, 10, 3});
  const Tensor low = Tensor::from<int64_t>(context, {3}, {0, 1, -1});
  REQUIRE_THAT(error_of([&] { kernels::cross_entropy(x, high, 0.0f, x); }),
               Contains("[0, 10)") && Contains("labels[1] = 10"));
  REQUIRE_THAT(error_of([&] { kernels::nll(x, low, x); }), Contains("labels[2] = -1"));
  REQUIRE_THAT(error_of([&] { kernels::squared_hinge(x, low, x); }), Contains("labels[2]"));
  REQUIRE_THAT(error_of([&] { kernels::count_correct(x, high); }), Contains("labels[1]"));
  const Tensor two = Tensor::from<int64_t>(context, {2}, {0, 1});
  REQUIRE_THAT(error_of([&] { kernels::cross_entropy(x, two, 0.0f, x); }),
               Contains("[3]") && Contains("[2]"));
  Tensor none = Tensor::zeros(context, {0, 10});
  const Tensor no_labels = Tensor::zeros(context, {0}, DType::kInt64);
  REQUIRE_THAT(error_of([&] { kernels::cross_entropy(none, no_labels, 0.0f, none); }),
               Contains("at least one value"));
  REQUIRE_THAT(error_of([&] { kernels::cross_entropy(x, high, -0.1f, x); }), Contains("labels"));
}
