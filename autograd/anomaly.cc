#include "autograd/anomaly.h"

#include <cmath>

#include "kernels/elementwise.h"

namespace halftone {
namespace {

thread_local int t_depth = 0;

bool finite(const Variable& v) {
  if (v.codes() != nullptr) return std::isfinite(known(*v.codes()).params.scale);
  return v.value().dtype() != DType::kFloat32 || kernels::all_finite(v.value());
}

// "0, 2": the inputs that were bad already, so that the cause lies before this op or in a
// parameter.
std::string bad_inputs(const std::vector<Variable>& inputs) {
  std::string list;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].defined() || finite(inputs[i])) continue;
    list += (list.empty() ? "" : ", ") + std::to_string(i);
  }
  return list;
}

// "NaN at element 7 of [2, 4]".
std::string first_bad(const Tensor& t) {
  const Tensor home = t.to(t.context().host());
  const float* values = home.data<float>();
  int64_t i = 0;
  while (i < t.numel() && std::isfinite(values[i])) ++i;
  if (i == t.numel()) return "";
  const std::string kind = std::isnan(values[i]) ? "NaN" : "infinity";
  return kind + " at element " + std::to_string(i) + " of " + t.shape().str() +
         (t.rank() == 4 ? " (NHWC)" : "");
}

}  // namespace

DetectNonFinite::DetectNonFinite() { ++t_depth; }
DetectNonFinite::~DetectNonFinite() { --t_depth; }
bool DetectNonFinite::active() { return t_depth > 0; }

void check_forward(const OpRecord& record, const Variable& result) {
  // Codes are finite whatever they were made of: their inputs count.
  const bool good = finite(result);
  if (good && result.codes() == nullptr) return;
  const std::string inputs = bad_inputs(record.inputs);
  if (good && inputs.empty()) return;
  throw HALFTONE_ERROR(record.op)
      .what_happened("the result is not finite")
      .expected("finite values")
      .found(good                        ? "codes of values that are not"
             : result.codes() != nullptr ? "a scale that is not finite"
                                         : first_bad(result.value()))
      .fix(inputs.empty() ? "every input was finite: it arose in this op"
                          : "input " + inputs + " of this op was not finite already");
}

void check_gradient(const std::string& op, const std::string& which, const Tensor& gradient) {
  if (kernels::all_finite(gradient)) return;
  throw HALFTONE_ERROR(op)
      .what_happened("in backward, the " + which + " is not finite")
      .expected("finite values")
      .found(first_bad(gradient));
}

}  // namespace halftone
