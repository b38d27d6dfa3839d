// Ranges that a quantizer tracks.
#pragma once

#include <string>
#include <vector>

#include "kernels/quantize.h"
#include "quant/spec.h"

namespace halftone {

// The observers by the names that config_list gives them, with a line about each.
struct ObserverEntry {
  ObserverKind kind;
  std::string name, summary;
};
const std::vector<ObserverEntry>& observers();

struct ObserverRule {
  ObserverKind kind = ObserverKind::kEma;
  double decay = 0.99;
  bool keeps_nothing = false;  // weights: the current range counts alone
  bool nni = false;            // the first batch is averaged with itself: an ulp
};

// tracked (a range per channel) after a batch whose ranges are `seen`. Without `initialised` the
// first batch sets it. The ranges seen are finite.
void track_ranges(const ObserverRule& rule, bool initialised,
                  const std::vector<kernels::Range>& seen, std::vector<kernels::Range>& tracked);

}  // namespace halftone
