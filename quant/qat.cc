#include "quant/qat.h"

namespace halftone {

ConfigRules QatQuantizer::rules() const {
  ConfigRules
      rules;  // 2 to 16 bits, weight, input and output; NNI's default is uint, per-tensor affine
  return rules;
}

}  // namespace halftone
