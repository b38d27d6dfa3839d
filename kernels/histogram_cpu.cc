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

// The old bins' counts in the new, wider range. The old range is a whole number of cells,
// `upsample` per old bin and `downsample` per new one; the first old cell is cell `start` of the
// new range.
std::vector<float> spread(const std::vector<float>& old, int64_t upsample, int64_t downsample,
                          int64_t start) {
  const int64_t bins = static_cast<int64_t>(old.size());
  std::vector<double> cells(bins, 0.0);  // counts times upsample
  for (int64_t b = 0; b < bins; ++b) {
    for (int64_t at = start + b * upsample, end = at + upsample; at < end;) {
      const int64_t k = std::min(at / downsample, bins - 1);
      const int64_t stop = k == bins - 1 ? end : std::min(end, (k + 1) * downsample);
      cells[k] += static_cast<double>(old[b]) * static_cast<double>(stop - at);
      at = stop;
    }
  }
  std::vector<float> out(bins);
  for (int64_t k = 0; k < bins; ++k) {
    out[k] = static_cast<float>(cells[k] / static_cast<double>(upsample));
  }
  return out;
}

// Every old bin's count at the place of its centre: where one old cell is too small to count with.
std::vector<float> collapse(const RangeHistogram& old, const Bins& to) {
  std::vector<double> sums(old.counts.size(), 0.0);
  const double bins = static_cast<double>(old.counts.size());
  const double width = (static_cast<double>(old.high) - static_cast<double>(old.low)) / bins;
  for (size_t b = 0; b < old.counts.size(); ++b) {
    const double centre = static_cast<double>(old.low) + (static_cast<double>(b) + 0.5) * width;
    sums[to.of(static_cast<float>(centre))] += static_cast<double>(old.counts[b]);
  }
  return {sums.begin(), sums.end()};
}

// Widens h to hold [low, high]: PyTorch 1.13's HistogramObserver, in float as it does. The new high
// end is moved up to a whole number of cells per bin.
void widen(float low, float high, const RangeHistogramOptions& options, RangeHistogram& h) {
  const float old = h.high - h.low, upsample = static_cast<float>(options.upsample);
  const float cells = std::ceil((high - low) * upsample / old);
  if (!(cells < 0x1p31f)) {
    const Bins to{low, high, static_cast<float>(options.bins)};
    h = {low, high, collapse(h, to)};
    return;
  }
  const float excess = cells * old / upsample - (high - low);
  const float start =
      std::nearbyint((h.low - low) * static_cast<float>(options.bins) * upsample / old);
  h.counts =
      spread(h.counts, options.upsample, static_cast<int64_t>(cells), static_cast<int64_t>(start));
  h.low = low;
  h.high = std::max(high, high + excess);
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
