#include "quant/histogram_search.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

using namespace halftone;

namespace {

double fraction(int i, int k) {
  const double t = static_cast<double>(i + 1) * 0.6180339887498949 * k;
  return t - std::floor(t);
}

// A bell of noisy counts, narrower for larger k.
std::vector<float> bell(int bins, int k) {
  std::vector<float> counts;
  for (int i = 0; i < bins; ++i) {
    const double at = (i - bins / 2.0) / (bins / static_cast<double>(4 + k));
    counts.push_back(
        static_cast<float>(static_cast<int>(1000.0 * std::exp(-at * at / 2.0) * fraction(i, k))));
  }
  return counts;
}

// The squared error of samples spread over each bin, each at its nearest code centre.
double sampled_error(const kernels::RangeHistogram& h, int levels, int first, int last) {
  constexpr int kSamples = 200;
  const int bins = static_cast<int>(h.counts.size());
  const double width = (static_cast<double>(h.high) - static_cast<double>(h.low)) / bins;
  const double code = width * (last - first + 1) / levels;
  double sum = 0;
  for (int b = 0; b < bins; ++b) {
    for (int s = 0; s < kSamples; ++s) {
      const double x = (b - first + (s + 0.5) / kSamples) * width;
      const double at = std::clamp(std::floor(x / code), 0.0, levels - 1.0);
      const double error = x - (at + 0.5) * code;
      sum += static_cast<double>(h.counts[b]) * error * error / kSamples;
    }
  }
  return sum;
}

// NVIDIA's _compute_amax_entropy, list by list.
double listed_divergence(const std::vector<int64_t>& bins, int levels, int kept) {
  std::vector<int> code(kept);
  for (int b = 0; b < kept; ++b) {
    int c = 0;
    while (c + 1 < levels && (c + 1.0) * kept / levels <= b) ++c;
    code[b] = bins[b] == 0 ? -1 : c;
  }
  std::vector<double> p(bins.begin(), bins.begin() + kept), q(kept, 0.0);
  for (size_t b = kept; b < bins.size(); ++b) p[kept - 1] += static_cast<double>(bins[b]);
  for (int b = 0; b < kept; ++b) {
    double count = 0, filled = 0;
    for (int other = 0; other < kept; ++other) {
      if (code[b] < 0 || code[other] != code[b]) continue;
      count += static_cast<double>(bins[other]);
      filled += 1;
    }
    if (filled > 0) q[b] = count / filled;
  }
  double sum_p = 0, sum_q = 0, kl = 0;
  for (int b = 0; b < kept; ++b) sum_p += p[b], sum_q += q[b];
  for (int b = 0; b < kept; ++b) {
    if (p[b] == 0) continue;
    if (q[b] == 0) return INFINITY;
    kl += p[b] / sum_p * std::log(p[b] / sum_p / (q[b] / sum_q));
  }
  return kl;
}

std::vector<int64_t> half_bell(int bins, int k, int64_t outlier) {
  std::vector<int64_t> counts;
  for (int i = 0; i < bins; ++i) {
    const double at = i / (bins / 6.0);
    counts.push_back(static_cast<int64_t>(3000.0 * std::exp(-at * at / 2.0) * fraction(i, k)));
  }
  counts.back() = outlier;
  return counts;
}

struct TorchRow {
  int k;
  float low, high;
  int bits;
  float new_low, new_high;
};
// _non_linear_param_search of PyTorch 2.15 over bell(2048, k).
const TorchRow kTorch[] = {
    {1, -1.0f, 2.0f, 8, -1.0f, 1.99267578f},
    {3, 0.0f, 5.0f, 8, 0.0f, 4.98535156f},
    {5, -3.0f, 0.5f, 4, -2.51123047f, -0.0759277344f},
    {7, -0.25f, 8.0f, 2, 1.40966797f, 5.41784668f},
    {9, 0.0f, 1.0f, 7, 0.227539062f, 0.772949219f},
    {11, -6.0f, 6.0f, 8, -2.8359375f, 2.8125f},
};

}  // namespace

TEST_CASE("least squares: PyTorch's ranges, bit for bit") {
  for (const TorchRow& row : kTorch) {
    CAPTURE(row.k);
    const kernels::RangeHistogram h{row.low, row.high, bell(2048, row.k)};
    const kernels::Range r = least_squares_range(h, 1 << row.bits);
    CHECK(r.low == row.new_low);
    CHECK(r.high == row.new_high);
  }
}

TEST_CASE("squared_error is the error of values spread over their bins") {
  const kernels::RangeHistogram h{-1.5f, 2.5f, bell(64, 2)};
  for (const auto& [levels, first, last] : std::vector<std::tuple<int, int, int>>{
           {4, 0, 63}, {4, 10, 50}, {16, 0, 63}, {16, 20, 40}, {256, 0, 63}, {7, 31, 31}}) {
    CAPTURE(levels, first, last);
    const double sampled = sampled_error(h, levels, first, last);
    // 200 samples per bin; where a bin holds several codes their edges fall between samples.
    CHECK(squared_error(h, levels, first, last) == Approx(sampled).epsilon(2e-3));
  }
}

TEST_CASE("least squares: degenerate histograms keep their range") {
  kernels::RangeHistogram constant{3.0f, 3.0f, std::vector<float>(2048)};
  constant.counts[1024] = 100;
  const kernels::Range same = least_squares_range(constant, 256);
  CHECK((same.low == 3.0f && same.high == 3.0f));
}

TEST_CASE("percentiles: within a bin of those of the sorted values") {
  const Context context;
  std::vector<float> values;
  for (int i = 0; i < 5000; ++i) {
    const double t = fraction(i, 3) - 0.3;
    values.push_back(static_cast<float>(5.0 * t * t * t));
  }
  kernels::SymmetricHistogram h;
  kernels::update_histogram(Tensor::from(context, Shape{5000}, values), 4096, h);
  std::sort(values.begin(), values.end());
  const float bin = 2.0f * h.high / 4096.0f;
  for (const double p : {50.0, 90.0, 99.0, 99.9, 100.0}) {
    CAPTURE(p);
    const int64_t above = std::llround(5000 * (1 - p / 100));
    const kernels::Range r = percentile_range(h, p);
    const auto at = [&](int64_t rank) { return values[std::clamp<int64_t>(rank, 0, 4999)]; };
    // Between the neighbours of that rank, to within a bin.
    CHECK((r.low >= at(above - 1) - bin && r.low <= at(above) + bin));
    CHECK((r.high >= at(4999 - above) - bin && r.high <= at(5000 - above) + bin));
  }
  const kernels::Range zeros = percentile_range({}, 99.0);
  CHECK((zeros.low == 0.0f && zeros.high == 0.0f));
}

TEST_CASE("divergence is NVIDIA's, and the search tries every number of bins") {
  for (int k = 1; k <= 3; ++k) {
    for (const int64_t outlier : {int64_t{1}, int64_t{50}}) {
      auto counts = half_bell(150, k, outlier);
      counts[60] = counts[61] = 0;
      for (const int levels : {4, 16, 33}) {
        auto smooth = counts;
        smooth[0] = smooth[1];
        int best = 150;
        double least = INFINITY;
        for (int kept = 150; kept >= levels; --kept) {
          const double wanted = listed_divergence(smooth, levels, kept);
          const double found = divergence(smooth, levels, kept);
          if (std::isinf(wanted)) {
            REQUIRE(std::isinf(found));
            continue;
          }
          REQUIRE(found == Approx(wanted).epsilon(1e-9).margin(1e-12));  // sums in another order
          // Ties to within rounding would make the choice arbitrary; these inputs have none.
          if (wanted < least) least = wanted, best = kept;
        }
        CAPTURE(k, outlier, levels);
        REQUIRE(least_divergence_bins(counts, levels) == best);
        REQUIRE(best < 150);  // the outlier is given up
      }
    }
  }
}

TEST_CASE("divergence: values far from zero are not clipped to the nearest of them") {
  std::vector<int64_t> far(2048, 0);
  std::fill(far.begin() + 300, far.end(), 10);  // of 2048 bins, none in the first 128
  CHECK(least_divergence_bins(far, 128) > 1024);
}

TEST_CASE("divergence: a point mass hides nothing, and the outermost values stay") {
  auto counts = half_bell(150, 1, 0);
  const int without = least_divergence_bins(counts, 16);
  counts[20] = 200000;  // four fifths of all values, at 13 % of the range
  const int kept = least_divergence_bins(counts, 16);
  CHECK(kept > 60);
  CHECK(std::abs(kept - without) <= 8);
  std::vector<int64_t> saturated(64, 10);
  saturated[63] = 400;  // ReLU6 at 6
  CHECK(least_divergence_bins(saturated, 16) == 64);
}

TEST_CASE("divergence: nothing to choose from keeps everything") {
  CHECK(least_divergence_bins(std::vector<int64_t>(16), 4) == 16);
  CHECK(least_divergence_bins({5, 5, 5, 5}, 256) == 4);
  std::vector<int64_t> zeros(16);
  zeros[0] = 1000;
  CHECK(least_divergence_bins(zeros, 4) == 16);
}
