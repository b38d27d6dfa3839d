#include "quant/histogram_search.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace halftone {
namespace {

// PyTorch's div(a, b, rounding_mode="floor") for b > 0.
float floor_divide(float a, float b) {
  const float rest = std::fmod(a, b);
  float quotient = (a - rest) / b;
  if (rest < 0.0f) quotient -= 1.0f;
  const float floored = std::floor(quotient);
  return quotient - floored > 0.5f ? floored + 1.0f : floored;
}

// density * integral of x^2 from begin to end.
float norm_between(float begin, float end, float density) {
  return density * ((end * end * end - begin * begin * begin) / 3.0f);
}

// The candidates of PyTorch's search: after each step the side that lost fewer bins per value.
struct Cut {
  int first, last;
  double alpha = 0.0, beta = 1.0;
};

// The next candidate; first and last stay where a step of 1e-5 of the values moves no end.
Cut next_cut(const Cut& cut, const std::vector<float>& cumulative, double total) {
  const double alpha = cut.alpha + 1e-5, beta = cut.beta - 1e-5;
  const float least = static_cast<float>(alpha * total), most = static_cast<float>(beta * total);
  int left = cut.first, right = cut.last;
  while (left < cut.last && cumulative[left] < least) ++left;
  while (right > cut.first && cumulative[right] > most) --right;
  Cut next = cut;
  if (left - cut.first > cut.last - right) {
    next.first = left;
    next.alpha = alpha;
  } else {
    next.last = right;
    next.beta = beta;
  }
  return next;
}

// The counts without what stands out in single bins.
std::vector<int64_t> without_point_masses(const std::vector<int64_t>& magnitudes) {
  const auto count = [&](size_t b) { return b < magnitudes.size() ? magnitudes[b] : 0; };
  const int64_t total = std::accumulate(magnitudes.begin(), magnitudes.end(), int64_t{0});
  size_t outermost = magnitudes.size();
  while (outermost > 0 && magnitudes[outermost - 1] == 0) --outermost;
  std::vector<int64_t> out = magnitudes;
  for (size_t b = 1; b + 1 < outermost; ++b) {
    if (10 * count(b) > total) out[b] = std::min(count(b), std::max(count(b - 1), count(b + 1)));
  }
  if (out.size() > 1) out[0] = out[1];
  return out;
}

// The value below which `share` of all counts lie.
double value_below(const kernels::SymmetricHistogram& h, double share) {
  const double total =
      static_cast<double>(std::accumulate(h.counts.begin(), h.counts.end(), int64_t{0}));
  const double width = 2.0 * static_cast<double>(h.high) / static_cast<double>(h.counts.size());
  double below = 0;
  for (size_t b = 0; b < h.counts.size(); ++b) {
    const double count = static_cast<double>(h.counts[b]);
    if (count > 0 && below + count >= share * total) {
      const double inside = std::max(share * total - below, 0.0) / count;
      return (static_cast<double>(b) + inside) * width - static_cast<double>(h.high);
    }
    below += count;
  }
  return static_cast<double>(h.high);
}

}  // namespace

double squared_error(const kernels::RangeHistogram& h, int levels, int first, int last) {
  const int bins = static_cast<int>(h.counts.size());
  const double bin = (static_cast<double>(h.high) - static_cast<double>(h.low)) / bins;
  const double code = bin * (last - first + 1) / levels;
  if (code == 0.0) return 0.0;
  const float width = static_cast<float>(bin), step = static_cast<float>(code);
  const float half = static_cast<float>(code / 2), top = static_cast<float>(levels - 1);
  double sum = 0;
  for (int b = 0; b < bins; ++b) {
    const float begin = static_cast<float>(b - first) * width, end = begin + width;
    const float low = std::clamp(floor_divide(begin, step), 0.0f, top);
    const float high = std::clamp(floor_divide(end, step), 0.0f, top);
    const float density = h.counts[b] / width;
    float norm = norm_between(begin - (low + 0.5f) * step, half, density);
    norm += (high - low - 1.0f) * norm_between(-half, half, density);
    norm += norm_between(-half, end - (high * step + half), density);
    sum += static_cast<double>(norm);
  }
  return sum;
}

kernels::Range least_squares_range(const kernels::RangeHistogram& h, int levels) {
  const int bins = static_cast<int>(h.counts.size());
  std::vector<float> cumulative;
  double total = 0;
  for (const float count : h.counts) {
    total += static_cast<double>(count);
    cumulative.push_back(static_cast<float>(total));
  }
  Cut best{0, bins - 1};
  float least = INFINITY;
  while (best.alpha < best.beta) {
    const Cut next = next_cut(best, cumulative, static_cast<float>(total));
    const bool moved = next.first != best.first || next.last != best.last;
    best.alpha = next.alpha;
    best.beta = next.beta;
    if (!moved) continue;
    const float error = static_cast<float>(squared_error(h, levels, next.first, next.last));
    if (error > least) break;
    least = error;
    best = next;
  }
  const float width = (h.high - h.low) / static_cast<float>(bins);
  return {h.low + width * static_cast<float>(best.first),
          h.low + width * static_cast<float>(best.last + 1)};
}

kernels::Range percentile_range(const kernels::SymmetricHistogram& h, double p) {
  if (h.high == 0.0f) return {0.0f, 0.0f};
  return {static_cast<float>(value_below(h, 1.0 - p / 100.0)),
          static_cast<float>(value_below(h, p / 100.0))};
}

double divergence(const std::vector<int64_t>& magnitudes, int levels, int kept) {
  const auto sum = [&](int begin, int end) {
    return static_cast<double>(
        std::accumulate(magnitudes.begin() + begin, magnitudes.begin() + end, int64_t{0}));
  };
  const double beyond = sum(kept, static_cast<int>(magnitudes.size()));
  const double inside = sum(0, kept), total = inside + beyond;
  double kl = 0;
  for (int code = 0; code < levels; ++code) {
    // Bins first..last - 1 share this code, and its count, as far as they are not empty.
    const auto begin = [&](int64_t c) { return (c * kept + levels - 1) / levels; };
    const int64_t first = begin(code), last = begin(code + 1);
    const double filled = static_cast<double>(
        last - first -
        std::count(magnitudes.begin() + first, magnitudes.begin() + last, int64_t{0}));
    const double shown = sum(static_cast<int>(first), static_cast<int>(last));
    for (int64_t b = first; b < last; ++b) {
      const bool outer = b == kept - 1;
      const double p = (static_cast<double>(magnitudes[b]) + (outer ? beyond : 0.0)) / total;
      if (p == 0) continue;
      if (magnitudes[b] == 0) return INFINITY;
      kl += p * std::log(p / (shown / filled / inside));
    }
  }
  return kl;
}

int least_divergence_bins(const std::vector<int64_t>& counts, int levels) {
  const std::vector<int64_t> magnitudes = without_point_masses(counts);
  const int bins = static_cast<int>(magnitudes.size());
  int best = bins;
  double least = INFINITY;
  const int64_t all = std::accumulate(magnitudes.begin(), magnitudes.end(), int64_t{0});
  int64_t inside = all;
  for (int kept = bins; kept >= levels; --kept) {
    if (kept < bins) inside -= magnitudes[kept];
    if (2 * inside < all) break;  // a lone bin next to zero would diverge from nothing
    const double kl = divergence(magnitudes, levels, kept);
    if (!(kl < least)) continue;
    least = kl;
    best = kept;
  }
  return best;
}

}  // namespace halftone
