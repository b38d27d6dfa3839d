// Golden cases: what Microsoft NNI 2.10 computes (nni_golden.json), what we compute, and which of
// the two is right.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "test/golden/inputs.h"

namespace halftone::golden {

using Json = nlohmann::ordered_json;

// How near a number has to be.
enum class Nearness : uint8_t {
  kUlp,      // at most `amount` units in the last place
  kLargest,  // at most `amount` times the tensor's largest magnitude
  // Losses of a training: at most `amount` times the number. Or else ours is that near to `right`
  // of the case, and the other number within `spread` of ours.
  kTrace,
  kTerms,  // at most `amount` times what the number is a sum of: `terms` of the case
  // N: NNI's number comes from a bug. Ours is compared with `right` of the case, which must have a
  // number there: at most `amount` times the largest number of its list or times `terms`, whichever
  // is more; always a rounding of the number itself.
  kOurs,
  kOursTrace,  // N, at most `amount` times the number
};

// The first rule whose pattern matches the path of a number counts. A path is the keys on the way
// ("cc/0/tracked_min_input", indices included); * stands for any text.
struct Rule {
  std::string pattern;
  Nearness nearness = Nearness::kUlp;
  double amount = 0;
  std::string reason = "";  // N: why ours differs
};

// A case's numbers when sums are taken in another order, and where NNI divides by a scale of 0
// then.
struct OtherOrder {
  Json numbers, lost;
};

struct Case {
  std::string id;    // key in the file
  std::string what;  // one line
  std::vector<Rule> rules;
  // Our numbers, in the file's form.
  std::function<Json(const Inputs&)> run;
  // Numbers that share no code with the library, in the same form: all N ones, and others; null
  // where there is none.
  std::function<Json(const Inputs&)> right = nullptr;
  // The sum of the terms' magnitudes, in the same form.
  std::function<Json(const Inputs&)> terms = nullptr;
  // Inputs may leave NNI a range of zeros: it divides by a scale of 0, and its numbers are NaN from
  // there on. In the same form, true for what that takes: N, whatever the rule.
  std::function<Json(const Inputs&)> lost = nullptr;
  // Equal sums of codes may meet an edge of the next codes, so that their roundings decide: a top
  // level entry of the file may also be one of these, while ours is `right`.
  std::function<std::vector<OtherOrder>(const Inputs&)> others = nullptr;
  // How far float32 sums in other orders carry a number, in the same form.
  std::function<Json(const Inputs&)> spread = nullptr;
};

// All cases, in the file's order.
const std::vector<Case>& cases();

// What a comparison of one case found.
struct Verdict {
  bool passed = true;
  int64_t numbers = 0;                // compared with NNI's
  int64_t largest_ulp = 0;            // among those
  int64_t ours = 0;                   // N numbers
  int64_t checked = 0;                // N numbers that have a right one to be compared with
  int64_t lost = 0;                   // N numbers where NNI divides by a scale of 0
  int64_t spread = 0;                 // other numbers that only `spread` or `others` let pass
  std::vector<std::string> failures;  // the first few, with path, ours, expected
  std::vector<std::string> notes;     // N: reason, a sample of ours and NNI's
};
Verdict compare(const Case& c, const Inputs& inputs, const Json& ours, const Json& theirs);

// `ours` with the numbers of `right` in place of its own, where that has some.
Json with_right(Json ours, const Json& right);

// Units in the last place between two floats; NaN equals NaN.
int64_t ulp_distance(float a, float b);

// float32 values as JSON: round-trips; a NaN or an infinity as the string that Python prints.
Json numbers(const std::vector<float>& v);
Json number(float v);

}  // namespace halftone::golden
