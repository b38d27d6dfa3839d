#include "quant/affine_start.h"

#include <algorithm>

#include "kernels/histogram.h"
#include "kernels/integer/lsq_math.h"

namespace halftone {
namespace {

constexpr int kBins = 2048;
constexpr int kParts = 64;  // each end of the range is tried at 1/64 .. 64/64 of the values' reach

struct Bin {
  float centre;
  double count;
};

std::vector<Bin> bins_of(const Tensor& x, float low, float high) {
  const std::vector<int64_t> counts = kernels::histogram(x, low, high, kBins);
  const double width = (static_cast<double>(high) - static_cast<double>(low)) / kBins;
  std::vector<Bin> bins;
  for (int i = 0; i < kBins; ++i) {
    if (counts[i] == 0) continue;
    bins.push_back({static_cast<float>(static_cast<double>(low) + (i + 0.5) * width),
                    static_cast<double>(counts[i])});
  }
  return bins;
}

double squared_error(const std::vector<Bin>& bins, const quant_math::Grid& g) {
  const float low = static_cast<float>(g.qmin - g.zero_point);
  const float high = static_cast<float>(g.qmax - g.zero_point);
  double sum = 0;
  for (const Bin& bin : bins) {
    const float y = quant_math::fake_quantize(bin.centre, g.scale, low, high);
    const double e = static_cast<double>(bin.centre - y);
    sum += bin.count * e * e;
  }
  return sum;
}

}  // namespace

AffineStart affine_start(const Tensor& x, const quant_math::Grid& codes) {
  const kernels::Range seen = kernels::observe_ranges(x)[0];
  const float low = std::min(seen.low, 0.0f), high = std::max(seen.high, 0.0f);
  if (low == high) return {};
  const std::vector<Bin> bins = bins_of(x, low, high);
  const float steps = static_cast<float>(codes.qmax - codes.qmin);
  AffineStart best;
  double least = INFINITY;
  for (int i = low < 0 ? 1 : kParts; i <= kParts; ++i) {
    for (int j = high > 0 ? 1 : kParts; j <= kParts; ++j) {
      const float from = low * static_cast<float>(i) / kParts;
      const float scale =
          std::max((high * static_cast<float>(j) / kParts - from) / steps, quant_math::kScaleFloor);
      const float offset = from - scale * static_cast<float>(codes.qmin);
      const double error =
          squared_error(bins, quant_math::lsq_plus_grid(scale, offset, codes.qmin, codes.qmax));
      if (error >= least) continue;
      least = error;
      best = {scale, offset};
    }
  }
  return best;
}

}  // namespace halftone
