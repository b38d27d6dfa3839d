#include "test/golden/golden.h"

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

}  // namespace

TEST_CASE("every golden case of NNI holds, or a closed form shows why ours differs") {
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
  }
}

TEST_CASE("the closed forms hold for other inputs too") {
  for (const double multiplier : {0.7548776662466927, 0.3819660112501051, 0.9}) {
    for (const Case& c : cases()) {
      if (!c.right) continue;
      INFO(c.id << " with multiplier " << multiplier);
      const Json ours = c.run(Inputs{multiplier});
      const Verdict v = compare(c, Inputs{multiplier}, ours, ours);
      INFO(text_of(v));
      CHECK(v.passed);
      CHECK(v.checked > 0);
    }
  }
}

// With this multiplier, 2 bits leave LSQ an output of zeros to start from.
TEST_CASE("every case has numbers for other inputs too") {
  for (const Case& c : cases()) {
    INFO(c.id);
    CHECK_FALSE(c.run(Inputs{0.7548776662466927}).empty());
  }
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
