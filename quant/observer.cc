#include "quant/observer.h"

#include <algorithm>
#include <cmath>

namespace halftone {

const std::vector<ObserverEntry>& observers() {
  static const std::vector<ObserverEntry> list = {
      {ObserverKind::kEma, "ema",
       "moving average of the batches' ranges, ema_decay 0.99 (Jacob et al. 2018, section 3.1)"},
      {ObserverKind::kMinMax, "min_max",
       "smallest and largest value ever seen; of a weight, the current ones"},
      {ObserverKind::kHistogram, "histogram",
       "the range with the least squared error, of 2048 bins (PyTorch's HistogramObserver); "
       "ObserverQuantizer"},
      {ObserverKind::kPercentile, "percentile",
       "leaves out 0.01 % of the values at each end (percentile 99.99); ObserverQuantizer"},
      {ObserverKind::kKl, "kl",
       "the range whose codes lose least information: Kullback-Leibler divergence, as TensorRT; "
       "ObserverQuantizer"}};
  return list;
}

void track_ranges(const ObserverRule& rule, bool initialised,
                  const std::vector<kernels::Range>& seen, std::vector<kernels::Range>& tracked) {
  tracked.resize(seen.size(), {INFINITY, -INFINITY});
  for (size_t c = 0; c < seen.size(); ++c) {
    const kernels::Range& now = seen[c];
    kernels::Range& t = tracked[c];
    if (!initialised || rule.keeps_nothing || !(t.low <= t.high)) {
      t = now;
      if (rule.nni && rule.kind == ObserverKind::kEma && !rule.keeps_nothing) {
        t = {quant_math::ema(now.low, now.low, rule.decay),
             quant_math::ema(now.high, now.high, rule.decay)};
      }
    } else if (rule.kind == ObserverKind::kMinMax) {
      t = {std::min(t.low, now.low), std::max(t.high, now.high)};
    } else {
      t = {quant_math::ema(t.low, now.low, rule.decay),
           quant_math::ema(t.high, now.high, rule.decay)};
    }
  }
}

}  // namespace halftone
