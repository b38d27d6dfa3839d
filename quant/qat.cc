#include "quant/qat.h"

namespace halftone {

ConfigRules QatQuantizer::rules() const {
  ConfigRules rules;  // 2 to 16 bits, weight, input, output; NNI's default: uint, per-tensor affine
  rules.fold = true;
  return rules;
}

}  // namespace halftone
