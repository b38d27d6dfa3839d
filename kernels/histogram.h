// Histograms for the calibration of ranges. float32 values; NaN, infinities and magnitudes
// above 2^100 are refused, except by histogram(), which does not count them. Numbers of bins are
// divisible by 4.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace halftone::kernels {

// Counts of the values in `bins` equal parts of [low, high]; the last part includes high, values
// outside do not count. PyTorch's histc: part (int)((x - low) * bins / (high - low)) in float;
// where low = high the range is [low - 1, high + 1].
std::vector<int64_t> histogram(const Tensor& x, float low, float high, int bins);

// PyTorch's HistogramObserver: a running range of all values seen, whose counts are spread over the
// new bins (in double) when it widens, `upsample` parts per bin. For the search of the range with
// the smallest squared error. Empty (low > high) before the first update.
struct RangeHistogram {
  float low = 1.0f, high = 0.0f;
  std::vector<float> counts;
  bool empty() const { return low > high; }
};
struct RangeHistogramOptions {
  int bins = 2048;
  int upsample = 128;
  // PyTorch up to 1.13 (NNI's golden case G24): the ends of each batch's counts are truncated to
  // integers, so that values beyond them are lost; where they coincide, the batch's own range.
  bool integer_ends = false;
};
void update_histogram(const Tensor& x, const RangeHistogramOptions& options, RangeHistogram& h);

// Exact counts over [-high, high], zero between the two middle bins. High is the largest
// magnitude of the first batch, and doubles until a later batch fits: bins merge by pairs, so no
// count is ever split. For percentiles, and for KL divergence (TensorRT: fold the two halves).
struct SymmetricHistogram {
  float high = 0.0f;  // 0: empty, or only zeros seen
  std::vector<int64_t> counts;
  // Counts of |x| in [0, high]: half as many bins.
  std::vector<int64_t> magnitudes() const;
};
void update_histogram(const Tensor& x, int bins, SymmetricHistogram& h);

}  // namespace halftone::kernels
