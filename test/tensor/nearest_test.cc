#include "tensor/nearest.h"

#include <catch2/catch.hpp>

#include "tensor/error.h"

using namespace halftone;

TEST_CASE("the nearest name is suggested, a far one is not") {
  const std::vector<std::string> known = {"SGD", "Adam", "AdamW"};
  CHECK(did_you_mean("Adan", known) == " (did you mean Adam?)");
  CHECK(did_you_mean("sgd", known) == " (did you mean SGD?)");
  CHECK(did_you_mean("Nesterov", known).empty());
  CHECK(did_you_mean("Adam", {}).empty());
}

TEST_CASE("a list spells out so many and counts the rest") {
  CHECK(short_list({}) == "");
  CHECK(short_list({"a", "b"}, 2) == "a, b");
  CHECK(short_list({"a", "b", "c", "d"}, 2) == "a, b, ... and 2 more");
}

TEST_CASE("an unknown name: what is known, what was found, what may be meant") {
  CHECK_THROWS_WITH(
      throw_unknown_name("model", "lenet", {"lenet5", "resnet20"}),
      Catch::StartsWith(
          "model: expected one of lenet5, resnet20, found \"lenet\" (did you mean lenet5?)"));
}
