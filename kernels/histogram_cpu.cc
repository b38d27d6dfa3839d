#include <cmath>

#include "kernels/check.h"
#include "kernels/histogram.h"
#include "kernels/integer/histogram_math.h"
#include "kernels/quantize.h"
#include "kernels/reduce.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kChunk = 1 << 18;   // elements: one table of counts each
constexpr float kLargest = 0x1p100f;  // products with a number of bins stay finite

using quant_math::Bins;

Range finite_range(const char* op, const Tensor& x) {
  check_dtype(op, "input", x, DType::kFloat32);
  const Range r = observe_ranges(x)[0];
  if (x.numel() > 0 && r.low >= -kLargest && r.high <= kLargest) return r;
  throw HALFTONE_ERROR(op)
      .expected("at least one value, all of them finite and below 2^100")
      .found(x.numel() == 0      ? "an empty tensor"
             : std::isnan(r.low) ? "NaN"
                                 : std::to_string(r.low) + " to " + std::to_string(r.high));
}

void check_bins(const char* op, int bins) {
  if (bins >= 4 && bins % 4 == 0 && bins <= 1 << 20) return;
  throw HALFTONE_ERROR(op)
      .expected("a number of bins divisible by 4, up to 2^20")
      .found(std::to_string(bins));
}

void add(const std::vector<int64_t>& more, std::vector<float>& counts) {
  for (size_t i = 0; i < counts.size(); ++i) counts[i] += static_cast<float>(more[i]);
}

void widen(float low, float high, const RangeHistogramOptions& options, RangeHistogram& h) {
  const auto w = quant_math::widening(low, high, h.low, h.high, options.bins, options.upsample);
  std::vector<double> counts(options.bins, 0.0);
  for (int k = 0; k < options.bins; ++k) {
    if (w.collapses) {
      counts[quant_math::collapsed_bin(k, options.bins, w)] += static_cast<double>(h.counts[k]);
    } else {
      counts[k] = static_cast<double>(spread_count(h.counts.data(), options.bins, w, k));
    }
  }
  h = {w.low, w.high, {counts.begin(), counts.end()}};
}

}  // namespace

std::vector<int64_t> histogram(const Tensor& x, float low, float high, int bins) {
  check_dtype("histogram", "input", x, DType::kFloat32);
  check_bins("histogram", bins);
  const Bins to = quant_math::bins_of(low, high, bins);
  const float* values = x.data<float>();
  const int64_t chunks = std::max<int64_t>(1, chunk_count(x.numel(), kChunk));
  std::vector<std::vector<int64_t>> tables(chunks, std::vector<int64_t>(bins + 1));
  for_chunks(x.context(), x.numel(), kChunk, [&](int64_t k, int64_t begin, int64_t end) {
    int64_t* counts = tables[k].data() + 1;  // -1: not counted
    for (int64_t i = begin; i < end; ++i) ++counts[to.of(values[i])];
  });
  std::vector<int64_t> out(bins);
  for (const std::vector<int64_t>& table : tables) {
    for (int b = 0; b < bins; ++b) out[b] += table[b + 1];
  }
  return out;
}

void update_histogram(const Tensor& x, const RangeHistogramOptions& options, RangeHistogram& h) {
  check_bins("update_histogram", options.bins);
  const Range seen = finite_range("update_histogram", x);
  if (h.empty()) h = {seen.low, seen.high, std::vector<float>(options.bins)};
  const float low = std::min(seen.low, h.low), high = std::max(seen.high, h.high);
  if (low < h.low || high > h.high) widen(low, high, options, h);
  Range ends{h.low, h.high};
  if (options.integer_ends) {
    ends = {std::trunc(h.low), std::trunc(h.high)};
    if (ends.low == ends.high) ends = seen;
  }
  add(histogram(x, ends.low, ends.high, options.bins), h.counts);
}

std::vector<int64_t> SymmetricHistogram::magnitudes() const {
  const size_t half = counts.size() / 2;
  std::vector<int64_t> out(half);
  for (size_t i = 0; i < half; ++i) out[i] = counts[half + i] + counts[half - 1 - i];
  return out;
}

void update_histogram(const Tensor& x, int bins, SymmetricHistogram& h) {
  check_bins("update_histogram", bins);
  const Range seen = finite_range("update_histogram", x);
  const float most = std::max(-seen.low, seen.high);
  h.counts.resize(bins);
  if (most > 0.0f && h.high == 0.0f) h.high = most;
  while (most > h.high) {
    std::vector<int64_t> merged(bins);
    for (int i = 0; i < bins; ++i) merged[bins / 4 + i / 2] += h.counts[i];
    h.counts = merged;
    h.high *= 2.0f;
  }
  const std::vector<int64_t> more = histogram(x, -h.high, h.high, bins);
  for (int i = 0; i < bins; ++i) h.counts[i] += more[i];
}

}  // namespace halftone::kernels
