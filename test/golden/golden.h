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

// How near a number has to be. The last two say N: NNI's number comes from a bug, and ours is
// compared with `right` of the case.
enum class Nearness : uint8_t {
  kUlp,      // at most `amount` units in the last place
  kLargest,  // at most `amount` times the tensor's largest magnitude
  kTrace,    // at most `amount` times the number: losses of a training
  kTerms,    // at most `amount` times what the number is a sum of: `terms` of the case
  kOurs,     // N
};

// The first rule whose pattern matches the path of a number counts. A path is the keys on the way
// ("cc/0/tracked_min_input", indices included); * stands for any text.
struct Rule {
  std::string pattern;
  Nearness nearness = Nearness::kUlp;
  double amount = 0;
  std::string reason = "";  // N: why ours differs
};

struct Case {
  std::string id;    // key in the file
  std::string what;  // one line
  std::vector<Rule> rules;
  // Our numbers, in the file's form.
  std::function<Json(const Inputs&)> run;
  // N numbers from a closed form that shares no code with the library: the same form, N parts only.
  std::function<Json(const Inputs&)> right = nullptr;
  // For kTerms: the sum of the terms' magnitudes, in the same form.
  std::function<Json(const Inputs&)> terms = nullptr;
};

// All cases, in the file's order.
const std::vector<Case>& cases();

// What a comparison of one case found.
struct Verdict {
  bool passed = true;
  int64_t numbers = 0;                // compared with NNI's
  int64_t largest_ulp = 0;            // among those
  int64_t ours = 0;                   // N numbers
  int64_t checked = 0;                // N numbers that a closed form confirms
  std::vector<std::string> failures;  // the first few, with path, ours, expected
  std::vector<std::string> notes;     // N: reason, a sample of ours and NNI's
};
Verdict compare(const Case& c, const Inputs& inputs, const Json& ours, const Json& theirs);

// Units in the last place between two floats; NaN equals NaN.
int64_t ulp_distance(float a, float b);

// float32 values as JSON: round-trips; a NaN or an infinity as the string that Python prints.
Json numbers(const std::vector<float>& v);
Json number(float v);

}  // namespace halftone::golden
