#include <fmt/format.h>
#include <fnmatch.h>

#include <cmath>
#include <cstring>

#include "test/golden/golden.h"

namespace halftone::golden {
namespace {

constexpr size_t kShown = 5;

// The same place in the case's other two forms; null where they have none.
struct Beside {
  const Json *right = nullptr, *terms = nullptr;
};

struct Comparison {
  const Case& c;
  Verdict verdict;

  void fail(const std::string& path, const std::string& text) {
    verdict.passed = false;
    if (verdict.failures.size() < kShown) verdict.failures.push_back(path + ": " + text);
  }
  const Rule* rule_of(const std::string& path) const {
    for (const Rule& r : c.rules) {
      if (fnmatch(r.pattern.c_str(), path.c_str(), 0) == 0) return &r;
    }
    return nullptr;
  }
  void walk(const std::string& path, const Json& ours, const Json& theirs, const Beside& beside,
            double largest);
  void leaf(const std::string& path, const Json& ours, const Json& theirs, const Beside& beside,
            double largest);
  void note_ours(const std::string& path, const Json& ours, const Json& theirs, const Rule& rule);
};

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

bool near(const Rule& rule, float a, float b, double largest, const Json* terms) {
  const double difference = std::fabs(double{a} - double{b});
  switch (rule.nearness) {
    case Nearness::kTerms:
      return terms != nullptr && terms->is_number() &&
             difference <= rule.amount * terms->get<double>();
    case Nearness::kLargest:
      return difference <= rule.amount * largest;
    case Nearness::kTrace:
      return difference <= rule.amount * std::fabs(double{b});
    default:
      return static_cast<double>(ulp_distance(a, b)) <= rule.amount;
  }
}

const Json* part(const Json* whole, const std::string& key) {
  return whole != nullptr && whole->is_object() && whole->contains(key) ? &(*whole)[key] : nullptr;
}

const Json* part(const Json* whole, size_t i) {
  return whole != nullptr && whole->is_array() && i < whole->size() ? &(*whole)[i] : nullptr;
}

template <class Key>
Beside part(const Beside& whole, const Key& key) {
  return {part(whole.right, key), part(whole.terms, key)};
}

std::string join(const std::string& path, const std::string& key) {
  return path.empty() ? key : path + "/" + key;
}

void Comparison::note_ours(const std::string& path, const Json& ours, const Json& theirs,
                           const Rule& rule) {
  ++verdict.ours;
  const std::string note = rule.pattern + ": " + rule.reason;
  for (const std::string& known : verdict.notes) {
    if (known.rfind(note, 0) == 0) return;
  }
  verdict.notes.push_back(
      note + fmt::format(" (ours at {}: {}, NNI's: {})", path, ours.dump(), theirs.dump()));
}

void Comparison::leaf(const std::string& path, const Json& ours, const Json& theirs,
                      const Beside& beside, double largest) {
  const Rule* rule = rule_of(path);
  if (rule == nullptr) return fail(path, "no rule covers it");
  if (rule->nearness == Nearness::kOurs) {
    note_ours(path, ours, theirs, *rule);
    float a = 0, b = 0;
    if (beside.right == nullptr || !to_float(*beside.right, b)) {
      if (to_float(ours, a) && !std::isfinite(a))
        fail(path, "ours " + ours.dump() + ", where a finite number belongs");
      return;
    }
    ++verdict.checked;
    // The closed form is in double: one rounding apart at most, or `amount`.
    const double allowed = std::max(rule->amount, 1.2e-7) * std::max(1.0, std::fabs(double{b}));
    if (!to_float(ours, a) || std::fabs(double{a} - double{b}) > allowed)
      fail(path, fmt::format("ours {}, the closed form {}", ours.dump(), b));
    return;
  }
  float a = 0, b = 0;
  if (!to_float(theirs, b)) {
    if (ours != theirs) fail(path, fmt::format("ours {}, expected {}", ours.dump(), theirs.dump()));
    return;
  }
  ++verdict.numbers;
  if (!to_float(ours, a)) return fail(path, fmt::format("ours {}, expected {}", ours.dump(), b));
  verdict.largest_ulp = std::max(verdict.largest_ulp, ulp_distance(a, b));
  if (!near(*rule, a, b, largest, beside.terms)) {
    fail(path, fmt::format("ours {}, expected {} ({} ulp)", a, b, ulp_distance(a, b)));
  }
}

void Comparison::walk(const std::string& path, const Json& ours, const Json& theirs,
                      const Beside& beside, double largest) {
  const bool excused = rule_of(path) != nullptr && rule_of(path)->nearness == Nearness::kOurs;
  if (theirs.is_object() && ours.is_object()) {
    for (const auto& [key, value] : theirs.items()) {
      if (!ours.contains(key)) {
        fail(join(path, key), "ours has nothing there");
      } else {
        walk(join(path, key), ours[key], value, part(beside, key), largest);
      }
    }
    for (const auto& [key, value] : ours.items()) {
      if (!theirs.contains(key)) fail(join(path, key), "the file has nothing there");
    }
  } else if (theirs.is_array() && ours.is_array() && theirs.size() == ours.size()) {
    const double here = largest_of(theirs);
    for (size_t i = 0; i < theirs.size(); ++i) {
      walk(join(path, std::to_string(i)), ours[i], theirs[i], part(beside, i), here);
    }
  } else if (theirs.is_structured() || ours.is_structured()) {
    if (excused) return note_ours(path, ours, theirs, *rule_of(path));
    fail(path, "another form: " + ours.dump().substr(0, 60));
  } else {
    leaf(path, ours, theirs, beside, largest);
  }
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

Verdict compare(const Case& c, const Inputs& inputs, const Json& ours, const Json& theirs) {
  const Json right = c.right ? c.right(inputs) : Json();
  const Json terms = c.terms ? c.terms(inputs) : Json();
  Comparison comparison{c, {}};
  comparison.walk("", ours, theirs, {&right, &terms}, 0);
  return comparison.verdict;
}

}  // namespace halftone::golden
