// Ranges of a quantizer, chosen from a histogram of what it will see.
#pragma once

#include "kernels/histogram.h"
#include "kernels/quantize.h"

namespace halftone {

// The range of whole bins with a small squared error when `levels` codes share it evenly: PyTorch's
// HistogramObserver (_non_linear_param_search). From the whole range on it gives up, in steps of
// 1e-5 of the values, bins of the side where that costs more of them, as long as the error falls.
// Every operation in float where PyTorch's is; sums in double.
kernels::Range least_squares_range(const kernels::RangeHistogram& h, int levels);
// The squared error, times the number of values, of the codes of bins first..last; values beyond
// them are clipped. Values count as spread evenly over their bin.
double squared_error(const kernels::RangeHistogram& h, int levels, int first, int last);

// From the (100 - p)-th to the p-th percentile of all values, interpolated within a bin.
kernels::Range percentile_range(const kernels::SymmetricHistogram& h, double p);

// Magnitudes in bins of equal width from 0: how many bins to keep so that the distribution of the
// values, those beyond clipped to the last bin, and that of `levels` codes differ least in
// Kullback-Leibler divergence (TensorRT's calibration, Migacz, GTC 2017). As in NVIDIA's
// pytorch-quantization the first bin counts as much as the second, so that the zeros of a ReLU do
// not decide, and of equal divergences the widest range counts. Beyond that, a bin with more than a
// tenth of the values, but for the outermost, counts as much as its larger neighbour: a point mass,
// such as the background of images, would hide all that is clipped onto it.
int least_divergence_bins(const std::vector<int64_t>& magnitudes, int levels);
// KL(values || codes) of the first `kept` bins; infinite where the codes cannot show a value.
double divergence(const std::vector<int64_t>& magnitudes, int levels, int kept);

}  // namespace halftone
