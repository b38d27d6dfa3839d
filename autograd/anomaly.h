// Finding the op where the first NaN or infinity comes from.
#pragma once

#include <string>

#include "autograd/variable.h"

namespace halftone {

// While alive, every forward result and every gradient on this thread is checked; the first one
// that is not finite is thrown as an Error that names the op and the module path. Reads every value
// once more: re-run a failing step under it rather than leave it on.
class DetectNonFinite {
 public:
  DetectNonFinite();
  ~DetectNonFinite();
  DetectNonFinite(const DetectNonFinite&) = delete;
  DetectNonFinite& operator=(const DetectNonFinite&) = delete;

  static bool active();
};

// The checks themselves, for make_result and the engine.
void check_forward(const OpRecord& record, const Variable& result);
void check_gradient(const std::string& op, const std::string& which, const Tensor& gradient);

}  // namespace halftone
