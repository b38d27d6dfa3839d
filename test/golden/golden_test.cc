#include "test/golden/golden.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>

using namespace halftone::golden;

namespace {

Json expected_numbers() {
  std::ifstream in("test/golden/nni_golden.json");
  return Json::parse(in);
}

std::string text_of(const Verdict& v) {
  std::string text;
  for (const std::string& f : v.failures) text += f + "\n";
  return text;
}

Case one_number(const Rule& rule) { return {"X", "", {rule}, nullptr}; }

const Case& case_of(const std::string& id) {
  return *std::find_if(cases().begin(), cases().end(), [&](const Case& c) { return c.id == id; });
}

// The case with its forms made once.
Case with_forms(Case c, const Inputs& inputs) {
  for (auto* form : {&c.right, &c.terms, &c.lost, &c.spread}) {
    if (*form) *form = [made = (*form)(inputs)](const Inputs&) { return made; };
  }
  return c;
}

// The paths of all numbers.
void find_numbers(const Json& json, const Json::json_pointer& at,
                  std::vector<Json::json_pointer>& out) {
  if (json.is_number()) out.push_back(at);
  if (!json.is_structured()) return;
  size_t i = 0;
  for (const auto& [key, value] : json.items())
    find_numbers(value, json.is_array() ? at / i++ : at / key, out);
}

}  // namespace

TEST_CASE("every golden case of NNI holds, or plain loops show what is right where NNI is not") {
  const Json file = expected_numbers();
  const Inputs inputs;
  REQUIRE(file.size() == cases().size());
  for (const Case& c : cases()) {
    INFO(c.id << ": " << c.what);
    REQUIRE(file.contains(c.id));
    const Verdict v = compare(c, inputs, c.run(inputs), file[c.id]);
    INFO(text_of(v));
    CHECK(v.passed);
    CHECK(v.numbers > 0);
    CHECK(v.checked == v.ours);
    CHECK(v.lost == 0);
  }
}

// P and N alike. With the second, LSQ of 2 bits starts from an output of zeros; with the third, the
// inputs of G25 repeat after ten and a ReLU6 of its network is dead; with the last two, ReLUs leave
// zeros for one step, and for all.
TEST_CASE("numbers of plain loops hold for other inputs too") {
  const double multiplier = GENERATE(0.41421356237309515, 0.7548776662466927, 0.9, 1.01, 1.0);
  const Inputs inputs{multiplier};
  for (const Case& c : cases()) {
    if (!c.right) continue;
    INFO(c.id << " with multiplier " << multiplier);
    const Json ours = c.run(inputs);
    const Verdict v = compare(c, inputs, ours, with_right(ours, c.right(inputs)));
    INFO(text_of(v));
    CHECK(v.passed);
    CHECK(v.checked == v.ours);
  }
}

// Or 5 percent, of sums whose terms cancel.
TEST_CASE("a number of ours that is half a percent off fails, wherever it stands") {
  const Inputs inputs;
  const Json file = expected_numbers();
  for (const Case& known : cases()) {
    const Case c = with_forms(known, inputs);
    Json ours = c.run(inputs);
    std::vector<Json::json_pointer> places;
    find_numbers(ours, Json::json_pointer(), places);
    CHECK(places.size() > 1);
    for (const auto& place : places) {
      const Json right = ours[place];
      const bool cancels = c.terms && c.terms(inputs).contains(place);
      const double factor = cancels ? 1.05 : 1.005;
      ours[place] = right == 0 ? 0.005 : right.get<double>() * factor;
      INFO(c.id << place.to_string() << ": " << right.dump() << " became " << ours[place].dump());
      CHECK_FALSE(compare(c, inputs, ours, file[c.id]).passed);
      ours[place] = right;
    }
  }
}

// In the file: NaN where NNI has a number, and numbers that are off.
TEST_CASE("a number of the file that is off fails, but where it is NNI's bug") {
  const Inputs inputs;
  Json file = expected_numbers();
  const auto passes = [&](const std::string& id) {
    const auto c =
        std::find_if(cases().begin(), cases().end(), [&](const Case& one) { return one.id == id; });
    return compare(*c, inputs, c->run(inputs), file[id]).passed;
  };
  file["G06"][3]["y"][2] = "nan";
  CHECK_FALSE(passes("G06"));
  file["G21_22"]["4"][1]["y"] = Json::array({"nan", "nan", "nan", "nan", "nan", "nan"});
  CHECK_FALSE(passes("G21_22"));
  file["G25"]["qat8"][0][9] = 1.004 * file["G25"]["qat8"][0][9].get<double>();
  CHECK_FALSE(passes("G25"));
  file["G19"]["cases"]["4"]["dW"][3] = 1e9;
  CHECK(passes("G19"));
}

// With this multiplier a sum of codes is 0 but for its roundings, before a ReLU.
TEST_CASE("where roundings decide, NNI's numbers may be those of another order of sums") {
  const Inputs inputs{0.307820393};
  const Case& known = case_of("G21_22");
  const Json ours = known.run(inputs);
  const Case c = with_forms(known, inputs);
  int64_t let_pass = 0;
  for (const OtherOrder& other : c.others(inputs)) {
    Json theirs = other.numbers;
    const Verdict v = compare(c, inputs, ours, theirs);
    CHECK(v.passed);
    let_pass += v.spread;
    theirs["8"][1]["dx"][0] = theirs["8"][1]["dx"][0].get<double>() + 0.001;
    CHECK_FALSE(compare(c, inputs, ours, theirs).passed);
  }
  CHECK(let_pass > 0);
}

TEST_CASE("losses of 4 bits may differ as far as orders of sums do, while ours are right") {
  const Inputs inputs;
  const Case& known = case_of("G25");
  const Case c = with_forms(known, inputs);
  Json ours = known.run(inputs), theirs = expected_numbers()["G25"];
  const double last = theirs["qat4pc"][0][9].get<double>();
  theirs["qat4pc"][0][9] = 1.005 * last;
  const Verdict v = compare(c, inputs, ours, theirs);
  CHECK(v.passed);
  CHECK(v.spread == 1);
  theirs["qat4pc"][0][9] = 1.1 * last;
  CHECK_FALSE(compare(c, inputs, ours, theirs).passed);
  theirs["qat4pc"][0][9] = ours["qat4pc"][0][9] = 1.005 * last;
  CHECK(compare(c, inputs, ours, theirs).passed);
  theirs["qat4pc"][0][9] = 1.01 * last;
  CHECK_FALSE(compare(c, inputs, ours, theirs).passed);
}

// A file of NNI's with this multiplier holds NaN for LSQ of 2 bits.
TEST_CASE(
    "where NNI divides by a scale of 0, its NaN does not fail us, a wrong number of ours does") {
  const Inputs inputs{0.7548776662466927};
  const Case& c = case_of("G21_22");
  Json ours = c.run(inputs), theirs = ours;
  for (int step = 0; step < 3; ++step) {
    for (Json& values : theirs["2"][step]) {
      for (Json& v : values) v = "nan";
    }
  }
  const Verdict v = compare(c, inputs, ours, theirs);
  INFO(text_of(v));
  CHECK(v.passed);
  CHECK(v.lost > 0);
  ours["2"][1]["y"][0] = 0.1;
  CHECK_FALSE(compare(c, inputs, ours, theirs).passed);
  theirs["8"][0]["y"][0] = "nan";
  CHECK_FALSE(compare(c, inputs, c.run(inputs), theirs).passed);
}

TEST_CASE("a comparison sees one unit in the last place, and what is missing") {
  const Inputs in;
  const float x = 0.1f, next = std::nextafter(x, 1.0f);
  const Json theirs = {{"a", numbers({x, 2.0f})}};
  const Case exact = one_number({"*"});
  CHECK(compare(exact, in, theirs, theirs).passed);
  const Verdict off = compare(exact, in, {{"a", numbers({next, 2.0f})}}, theirs);
  CHECK_FALSE(off.passed);
  CHECK(off.largest_ulp == 1);
  CHECK_FALSE(compare(exact, in, {{"a", numbers({x})}}, theirs).passed);
  CHECK_FALSE(compare(exact, in, {{"b", numbers({x, 2.0f})}}, theirs).passed);
  CHECK_FALSE(compare(exact, in, {{"a", "nan"}}, {{"a", 1.0}}).passed);
  CHECK(compare(one_number({"*", Nearness::kUlp, 1}), in, {{"a", numbers({next, 2.0f})}}, theirs)
            .passed);
  Case n = one_number({"*", Nearness::kOurs, 0, "a bug"});
  n.right = [](const Inputs&) { return Json{{"a", 1.0}}; };
  CHECK(compare(n, in, {{"a", 1.0}}, {{"a", 7.0}}).passed);
  CHECK_FALSE(compare(n, in, {{"a", 2.0}}, {{"a", 7.0}}).passed);
  CHECK_FALSE(compare(one_number(n.rules[0]), in, {{"a", 1.0}}, {{"a", 7.0}}).passed);
  Case sum = one_number({"*", Nearness::kTerms, 0.1});
  sum.terms = [](const Inputs&) { return Json{{"a", 10.0}}; };
  CHECK(compare(sum, in, {{"a", 1.0}}, {{"a", 1.9}}).passed);
  CHECK_FALSE(compare(sum, in, {{"a", 1.0}}, {{"a", 2.1}}).passed);
}

TEST_CASE("distances in units in the last place") {
  CHECK(ulp_distance(1.0f, 1.0f) == 0);
  CHECK(ulp_distance(0.0f, -0.0f) == 0);
  CHECK(ulp_distance(-1e-45f, 1e-45f) == 2);
  CHECK(ulp_distance(NAN, NAN) == 0);
  CHECK(ulp_distance(NAN, 1.0f) > 1000000);
}
