#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "test/golden/golden.h"

namespace halftone::golden {
namespace {

constexpr size_t kShown = 5;
constexpr double kRounding = 1.2e-7;  // 2^-23: a float32 next to what is right in double
// Sums that nearly cancel lose a digit, in another order another one.
constexpr double kSlackOfOrders = 10;

const char* const kSpread =
    "float sums in another order lead to other losses of this training; ours are those of plain "
    "loops that decide between equal values as ours did, and NNI's no further away than such "
    "orders "
    "are from each other";
const char* const kOthers =
    "equal sums of codes meet an edge of the next codes here, so that their roundings decide; ours "
    "are the numbers of plain loops in one order of the sums, and NNI's in another";
const char* const kLost =
    "with these inputs NNI divides by a scale of 0 (B4, Q5) and goes on with NaN; our scales are "
    "at least 2^-23, or wait for values";

// Numbers, and the strings "nan", "inf", "3.0" that some rows hold.
bool to_float(const Json& v, float& out) {
  if (v.is_number()) {
    out = v.get<float>();
    return true;
  }
  if (!v.is_string()) return false;
  const std::string text = v.get<std::string>();
  char* end = nullptr;
  out = std::strtof(text.c_str(), &end);
  return !text.empty() && *end == '\0';
}

double largest_of(const Json& list) {
  double largest = 0;
  for (const Json& v : list) {
    float f = 0;
    if (to_float(v, f) && std::isfinite(f)) largest = std::max(largest, std::fabs(double{f}));
  }
  return largest;
}

double value_or_zero(const Json* v) {
  return v != nullptr && v->is_number() ? v->get<double>() : 0;
}

const Json* part(const Json* whole, const std::string& key) {
  return whole != nullptr && whole->is_object() && whole->contains(key) ? &(*whole)[key] : nullptr;
}

const Json* part(const Json* whole, size_t i) {
  return whole != nullptr && whole->is_array() && i < whole->size() ? &(*whole)[i] : nullptr;
}

const std::string& text_of(const std::string& key) { return key; }
std::string text_of(size_t i) { return std::to_string(i); }

// The case's other forms at one place; null where they have nothing.
struct Place {
  std::string path;
  const Json *right = nullptr, *terms = nullptr, *lost = nullptr;
  double largest = 0, largest_right = 0;  // magnitudes in the list that holds the place

  bool is_lost() const { return lost != nullptr && *lost == Json(true); }

  template <class Key>
  Place inside(const Key& key) const {
    return {path.empty() ? text_of(key) : path + "/" + text_of(key),
            part(right, key),
            part(terms, key),
            is_lost() ? lost : part(lost, key),
            largest,
            largest_right};
  }
};

bool near(const Rule& rule, float a, float b, const Place& at) {
  const double difference = std::fabs(double{a} - double{b});
  switch (rule.nearness) {
    case Nearness::kTerms:
      return difference <= rule.amount * value_or_zero(at.terms);
    case Nearness::kLargest:
      return difference <= rule.amount * at.largest;
    case Nearness::kTrace:  // log p near 0 is a difference of numbers that are as large as others
      return difference <= rule.amount * std::fabs(double{b}) + kRounding * at.largest;
    default:
      return static_cast<double>(ulp_distance(a, b)) <= rule.amount;
  }
}

// As `near` for numbers of N.
bool near_right(const Rule& rule, float a, float b, const Place& at) {
  const bool trace = rule.nearness == Nearness::kOursTrace || rule.nearness == Nearness::kTrace;
  const double size =
      trace ? std::fabs(double{b}) : std::max(value_or_zero(at.terms), at.largest_right);
  const double rounding = kRounding * (trace ? at.largest_right : std::fabs(double{b}));
  const double allowed = std::max(rule.amount * size, rounding);
  return std::fabs(double{a} - double{b}) <= allowed;
}

struct Comparison {
  const Case& c;
  const Inputs& inputs;
  Verdict verdict;
  Json spread = nullptr;   // made when a loss asks for it
  double slack = 1;        // on every kLargest
  bool without_n = false;  // skip N

  void fail(const Place& at, const std::string& text) {
    verdict.passed = false;
    if (verdict.failures.size() < kShown) verdict.failures.push_back(at.path + ": " + text);
  }
  const Rule* rule_of(const Place& at) const {
    for (const Rule& r : c.rules) {
      if (fnmatch(r.pattern.c_str(), at.path.c_str(), 0) == 0) return &r;
    }
    return nullptr;
  }
  bool is_ours(const Place& at) const {
    const Rule* rule = rule_of(at);
    return (rule != nullptr &&
            (rule->nearness == Nearness::kOurs || rule->nearness == Nearness::kOursTrace)) ||
           at.is_lost();
  }

  bool within_spread(const Rule& rule, float a, float b, const Place& at);
  void walk(const Place& at, const Json& ours, const Json& theirs);
  void walk_object(const Place& at, const Json& ours, const Json& theirs);
  void walk_list(Place at, const Json& ours, const Json& theirs);
  void leaf(const Place& at, const Json& ours, const Json& theirs);
  void leaf_of_ours(const Place& at, const Json& ours, const Json& theirs, const Rule& rule);
  void note(const std::string& reason, const Place& at, const Json& ours, const Json& theirs);
};

void Comparison::note(const std::string& reason, const Place& at, const Json& ours,
                      const Json& theirs) {
  for (const std::string& known : verdict.notes) {
    if (known.rfind(reason, 0) == 0) return;
  }
  verdict.notes.push_back(
      reason + fmt::format(" (ours at {}: {}, NNI's: {})", at.path, ours.dump(), theirs.dump()));
}

// Sums in another order may have led elsewhere, while ours is right.
bool Comparison::within_spread(const Rule& rule, float a, float b, const Place& at) {
  float right = 0;
  if (rule.nearness != Nearness::kTrace || !c.spread || at.right == nullptr ||
      !to_float(*at.right, right) || !near(rule, a, right, at))
    return false;
  if (spread.is_null()) spread = c.spread(inputs);
  const Json::json_pointer place("/" + at.path);
  return spread.contains(place) && std::fabs(double{a} - double{b}) <= spread[place].get<double>();
}

void Comparison::leaf_of_ours(const Place& at, const Json& ours, const Json& theirs,
                              const Rule& rule) {
  const bool lost = at.is_lost();
  note(lost ? kLost : rule.pattern + ": " + rule.reason, at, ours, theirs);
  ++verdict.ours;
  verdict.lost += lost ? 1 : 0;
  if (at.right == nullptr || at.right->is_null())
    return fail(at, "N, and nothing says what ours must be");
  ++verdict.checked;
  float a = 0, b = 0;
  if (!to_float(*at.right, b)) {
    if (ours != *at.right)
      fail(at, fmt::format("ours {}, right is {}", ours.dump(), at.right->dump()));
  } else if (!to_float(ours, a) || !near_right(rule, a, b, at)) {
    fail(at, fmt::format("ours {}, right is {}", ours.dump(), b));
  }
}

void Comparison::leaf(const Place& at, const Json& ours, const Json& theirs) {
  const Rule* rule = rule_of(at);
  if (rule == nullptr) return fail(at, "no rule covers it");
  if (is_ours(at)) return without_n ? void() : leaf_of_ours(at, ours, theirs, *rule);
  Rule scaled = *rule;
  if (rule->nearness == Nearness::kLargest) scaled.amount *= slack;
  float a = 0, b = 0;
  if (!to_float(theirs, b)) {
    if (ours != theirs) fail(at, fmt::format("ours {}, expected {}", ours.dump(), theirs.dump()));
    return;
  }
  ++verdict.numbers;
  if (!to_float(ours, a)) return fail(at, fmt::format("ours {}, expected {}", ours.dump(), b));
  verdict.largest_ulp = std::max(verdict.largest_ulp, ulp_distance(a, b));
  if (near(scaled, a, b, at)) return;
  if (!within_spread(*rule, a, b, at))
    return fail(at, fmt::format("ours {}, expected {} ({} ulp)", a, b, ulp_distance(a, b)));
  ++verdict.spread;
  note(kSpread, at, ours, theirs);
}

void Comparison::walk_object(const Place& at, const Json& ours, const Json& theirs) {
  for (const auto& [key, value] : theirs.items()) {
    const Place inner = at.inside(key);
    if (ours.contains(key)) {
      walk(inner, ours[key], value);
    } else {
      fail(inner, "ours has nothing there");
    }
  }
  for (const auto& [key, value] : ours.items()) {
    if (!theirs.contains(key)) fail(at.inside(key), "the file has nothing there");
  }
}

// `theirs` may be one null for a whole list of N.
void Comparison::walk_list(Place at, const Json& ours, const Json& theirs) {
  if (theirs.is_array()) at.largest = largest_of(theirs);
  if (at.right != nullptr && at.right->is_array()) at.largest_right = largest_of(*at.right);
  for (size_t i = 0; i < ours.size(); ++i)
    walk(at.inside(i), ours[i], theirs.is_array() ? theirs[i] : theirs);
}

void Comparison::walk(const Place& at, const Json& ours, const Json& theirs) {
  if (theirs.is_object() && ours.is_object()) {
    walk_object(at, ours, theirs);
  } else if (theirs.is_array() && ours.is_array() && theirs.size() == ours.size()) {
    walk_list(at, ours, theirs);
  } else if (theirs.is_null() && ours.is_array() && is_ours(at)) {
    walk_list(at, ours, theirs);
  } else if (theirs.is_structured() || ours.is_structured()) {
    fail(at, "another form: " + ours.dump().substr(0, 60));
  } else {
    leaf(at, ours, theirs);
  }
}

// All of ours, P and N.
bool is_right(const Case& c, const Inputs& inputs, const Place& all, const Json& ours) {
  Comparison comparison{c, inputs, {}};
  comparison.slack = kSlackOfOrders;
  comparison.walk(all, ours, with_right(ours, *all.right));
  return comparison.verdict.passed;
}

bool is_one_of(const Case& c, const Inputs& inputs, Place at, const Json& theirs,
               const std::vector<OtherOrder>& others, const std::string& key) {
  return std::any_of(others.begin(), others.end(), [&](const OtherOrder& other) {
    Comparison comparison{c, inputs, {}};
    comparison.slack = kSlackOfOrders;
    comparison.without_n = true;
    at.lost = part(&other.lost, key);
    comparison.walk(at, other.numbers.value(key, Json()), theirs);
    return comparison.verdict.passed;
  });
}

Json made(const std::function<Json(const Inputs&)>& form, const Inputs& inputs) {
  return form ? form(inputs) : Json();
}

}  // namespace

int64_t ulp_distance(float a, float b) {
  if (std::isnan(a) && std::isnan(b)) return 0;
  if (std::isnan(a) || std::isnan(b)) return INT64_MAX;
  const auto order = [](float f) {
    int32_t bits = 0;
    std::memcpy(&bits, &f, sizeof bits);
    return bits < 0 ? -static_cast<int64_t>(bits & 0x7fffffff) : static_cast<int64_t>(bits);
  };
  return std::llabs(order(a) - order(b));
}

Json number(float v) {
  if (std::isnan(v)) return "nan";
  if (std::isinf(v)) return v > 0 ? "inf" : "-inf";
  return static_cast<double>(v);
}

Json numbers(const std::vector<float>& v) {
  Json list = Json::array();
  for (const float x : v) list.push_back(number(x));
  return list;
}

Json with_right(Json ours, const Json& right) {
  if (right.is_object()) {
    for (const auto& [key, value] : right.items()) ours[key] = with_right(ours[key], value);
  } else if (right.is_array()) {
    for (size_t i = 0; i < right.size(); ++i) ours[i] = with_right(ours[i], right[i]);
  } else if (!right.is_null()) {
    return right;
  }
  return ours;
}

Verdict compare(const Case& c, const Inputs& inputs, const Json& ours, const Json& theirs) {
  const Json right = made(c.right, inputs), terms = made(c.terms, inputs);
  const Json lost = made(c.lost, inputs);
  const Place all{"", &right, &terms, &lost};
  Comparison comparison{c, inputs, {}};
  comparison.walk(all, ours, theirs);
  Verdict& v = comparison.verdict;
  if (v.passed || !c.others || !is_right(c, inputs, all, ours)) return v;
  const std::vector<OtherOrder> others = c.others(inputs);
  for (const auto& [key, part] : theirs.items()) {
    if (!is_one_of(c, inputs, all.inside(key), part, others, key)) return v;
    ++v.spread;
  }
  v.passed = true;
  v.failures.clear();
  v.notes.push_back(kOthers);
  return v;
}

}  // namespace halftone::golden
