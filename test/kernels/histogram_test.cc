#include "kernels/histogram.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "test/kernels/oracle.h"

using namespace halftone;
using test::kInf;
using test::kNan;
using test::with_threads;

namespace {

using Values = std::vector<float>;

Tensor tensor(const Context& context, const Values& values) {
  return Tensor::from(context, Shape{static_cast<int64_t>(values.size())}, values);
}

// Calibration batches of growing range: -1 - 0.2 i to 2 + 0.3 i.
Tensor batch_of(const Context& context, int i) {
  const double low = -1 - 0.2 * i, high = 2 + 0.3 * i;
  Values values;
  for (int j = 1; j <= 50; ++j) {
    const double at = j * 0.6180339887498949 * (3 + 2 * i);
    values.push_back(static_cast<float>(low + (high - low) * (at - std::floor(at))));
  }
  return tensor(context, values);
}

}  // namespace

TEST_CASE("counts as PyTorch's histc: edges, values outside, NaN, equal ends") {
  const Context context;
  const Tensor x =
      tensor(context, {-1.0f, -0.5f, 0.0f, 0.25f, 0.5f, 0.999f, 1.0f, 2.0f, -kInf, kNan});
  REQUIRE(kernels::histogram(x, -1, 1, 8) == std::vector<int64_t>{1, 0, 1, 0, 1, 1, 1, 2});
  REQUIRE(kernels::histogram(tensor(context, {3, 3, 4}), 3, 3, 4) ==
          std::vector<int64_t>{0, 0, 2, 1});  // the range is 2 to 4
  REQUIRE(kernels::histogram(Tensor::zeros(context, {0}), 0, 1, 4) == std::vector<int64_t>(4));
  REQUIRE_THROWS_WITH(kernels::histogram(x, 0, 1, 6), Catch::Contains("divisible by 4"));
}

TEST_CASE("counts are the same for every thread count") {
  const Values values = test::random_values(900001, 3);
  const auto want = kernels::histogram(tensor(with_threads(1), values), -1.5f, 1.9f, 2048);
  for (const int threads : {2, 3}) {
    REQUIRE(kernels::histogram(tensor(with_threads(threads), values), -1.5f, 1.9f, 2048) == want);
  }
}

TEST_CASE("a running range spreads its counts as PyTorch 1.13's HistogramObserver") {
  // Expected: that observer's formulas in torch, 8 bins and 4 parts per bin.
  const Context context;
  kernels::RangeHistogram h;
  const auto update = [&](int i) { kernels::update_histogram(batch_of(context, i), {8, 4}, h); };
  update(0);
  REQUIRE(h.counts == Values{6, 6, 6, 6, 6, 7, 7, 6});
  REQUIRE(h.low == -0.945458173751831f);
  REQUIRE(h.high == 1.9906831979751587f);
  update(1);
  REQUIRE(h.counts == Values{16, 12.5f, 17.5f, 12.5f, 14.5f, 14.5f, 9.5f, 3});
  REQUIRE(h.low == -0.9982338547706604f);
  REQUIRE(h.high == 2.671943187713623f);
  update(2);
  REQUIRE(h.counts == Values{15, 24.375f, 28.625f, 23.125f, 26.125f, 20.375f, 12.375f, 0});
  REQUIRE(h.low == -1.3722225427627563f);
  REQUIRE(h.high == 3.215498924255371f);
}

TEST_CASE("a running range: constants, then anything; no count is lost") {
  const Context context;
  kernels::RangeHistogram h;
  REQUIRE(h.empty());
  kernels::update_histogram(tensor(context, {0, 0, 0}), {8, 4}, h);
  REQUIRE(h.low == h.high);
  kernels::update_histogram(tensor(context, {0}), {8, 4}, h);
  REQUIRE(h.counts == Values{0, 0, 0, 0, 4, 0, 0, 0});
  kernels::update_histogram(tensor(context, {-1, 1}), {8, 4}, h);
  REQUIRE(h.counts == Values{1, 0, 0, 0, 4, 0, 0, 1});
  kernels::update_histogram(tensor(context, {-1, 1e12f}), {8, 4}, h);  // 5e11 times as wide
  REQUIRE(h.counts == Values{7, 0, 0, 0, 0, 0, 0, 1});
  kernels::RangeHistogram tiny;
  kernels::update_histogram(tensor(context, {0, 1e-44f}), {8, 4}, tiny);
  kernels::update_histogram(tensor(context, {0, 1}), {8, 4}, tiny);
  REQUIRE(tiny.counts == Values{3, 0, 0, 0, 0, 0, 0, 1});
}

TEST_CASE("symmetric counts: exact while the range doubles, folded for magnitudes") {
  const Context context;
  kernels::SymmetricHistogram h;
  kernels::update_histogram(tensor(context, {0, 0}), 8, h);
  REQUIRE(h.high == 0);
  kernels::update_histogram(tensor(context, {-1, -0.3f, 0.3f, 1}), 8, h);
  REQUIRE(h.high == 1);
  REQUIRE(h.counts == std::vector<int64_t>{1, 0, 1, 0, 2, 1, 0, 1});
  REQUIRE(h.magnitudes() == std::vector<int64_t>{2, 2, 0, 2});
  kernels::update_histogram(tensor(context, {3.5f}), 8, h);
  REQUIRE(h.high == 4);
  REQUIRE(h.counts == std::vector<int64_t>{0, 0, 0, 2, 4, 0, 0, 1});
}

TEST_CASE("NaN, infinities and nothing at all are refused") {
  const Context context;
  kernels::RangeHistogram h;
  REQUIRE_THROWS_WITH(kernels::update_histogram(tensor(context, {1, kNan}), {}, h),
                      Catch::Contains("finite") && Catch::Contains("NaN"));
  REQUIRE_THROWS_WITH(kernels::update_histogram(tensor(context, {1, kInf}), {}, h),
                      Catch::Contains("inf"));
  REQUIRE_THROWS_WITH(kernels::update_histogram(Tensor::zeros(context, {0}), {}, h),
                      Catch::Contains("empty"));
  REQUIRE(h.empty());
}

TEST_CASE("integer ends: the counts of PyTorch 1.13, which lose what lies beyond them") {
  const Context context;
  kernels::RangeHistogram h;
  kernels::RangeHistogramOptions options{8, 4};
  options.integer_ends = true;
  for (int i = 0; i < 3; ++i) kernels::update_histogram(batch_of(context, i), options, h);
  REQUIRE(h.counts == Values{8.5f, 15.125f, 15.375f, 12.625f, 13.125f, 11.875f, 11.375f, 2});
  REQUIRE(h.high == 3.215498924255371f);
  kernels::RangeHistogram narrow;  // 2.1 to 2.9: both ends truncate to 2
  kernels::update_histogram(tensor(context, {2.1f, 2.5f, 2.9f}), {4, 4, true}, narrow);
  REQUIRE(narrow.counts == Values{1, 0, 1, 1});
}
