#include "test/golden/cases.h"

namespace halftone::golden {

const std::vector<Case>& cases() {
  static const std::vector<Case> all = [] {
    std::vector<Case> list;
    for (const auto& family :
         {grid_cases(), weight_cases(), activation_cases(), fold_cases(), calibration_cases(),
          one_bit_cases(), lsq_cases(), naive_cases(), training_cases()}) {
      list.insert(list.end(), family.begin(), family.end());
    }
    return list;
  }();
  return all;
}

}  // namespace halftone::golden
