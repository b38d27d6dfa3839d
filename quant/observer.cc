#include "quant/observer.h"

#include <algorithm>
#include <cmath>

namespace halftone {

void track_ranges(const ObserverRule& rule, bool initialised,
                  const std::vector<kernels::Range>& seen, std::vector<kernels::Range>& tracked) {
  tracked.resize(seen.size(), {INFINITY, -INFINITY});
  for (size_t c = 0; c < seen.size(); ++c) {
    const kernels::Range& now = seen[c];
    kernels::Range& t = tracked[c];
    if (!initialised || rule.keeps_nothing || !(t.low <= t.high)) {
      t = now;
    } else if (rule.kind == ObserverKind::kMinMax) {
      t = {std::min(t.low, now.low), std::max(t.high, now.high)};
    } else {
      t = {quant_math::ema(t.low, now.low, rule.decay),
           quant_math::ema(t.high, now.high, rule.decay)};
    }
  }
}

}  // namespace halftone
