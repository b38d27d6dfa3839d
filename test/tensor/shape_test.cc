#include "tensor/shape.h"

#include <catch2/catch.hpp>

#include "tensor/error.h"

using namespace halftone;
using Catch::Contains;

TEST_CASE("a shape knows its extents, from both ends") {
  const Shape shape{64, 28, 30, 1};
  REQUIRE(shape.rank() == 4);
  REQUIRE(shape[2] == 30);
  REQUIRE(shape.dim(0) == 64);
  REQUIRE(shape.dim(-1) == 1);
  REQUIRE(shape.dim(-4) == 64);
  REQUIRE(shape.numel() == 64 * 28 * 30);
  REQUIRE(shape.str() == "[64, 28, 30, 1]");
  REQUIRE(std::vector<int64_t>(shape.begin(), shape.end()) == std::vector<int64_t>{64, 28, 30, 1});
}

TEST_CASE("a scalar has one element, an extent of 0 none") {
  REQUIRE(Shape().rank() == 0);
  REQUIRE(Shape().numel() == 1);
  REQUIRE(Shape().str() == "[]");
  REQUIRE(Shape({3, 0}).numel() == 0);
}

TEST_CASE("shapes are equal when rank and extents are") {
  REQUIRE(Shape({2, 3}) == Shape(std::vector<int64_t>{2, 3}));
  REQUIRE(Shape({2, 3}) != Shape({3, 2}));
  REQUIRE(Shape({2}) != Shape({2, 0}));
  REQUIRE(Shape({2}) != Shape({2, 1}));
  Shape changed{2, 3};
  changed.set(1, 5);
  REQUIRE(changed == Shape({2, 5}));
}

TEST_CASE("axes out of range, too many axes and impossible extents throw") {
  REQUIRE_THROWS_WITH(Shape({2, 3}).dim(2), Contains("[2, 3], -2 to 1, found axis 2"));
  REQUIRE_THROWS_WITH(Shape({2, 3}).dim(-3), Contains("found axis -3"));
  REQUIRE_THROWS_WITH(Shape({1, 2, 3, 4, 5, 6, 7}), Contains("at most 6 axes"));
  REQUIRE_THROWS_WITH(Shape({2, -1}), Contains("at least 0, found [2, -1]"));
  REQUIRE_THROWS_WITH(Shape(std::vector<int64_t>{int64_t{1} << 32, int64_t{1} << 31}),
                      Contains("fewer than 2^63 elements"));
  REQUIRE_NOTHROW(Shape({int64_t{1} << 32, (int64_t{1} << 31) - 1}));
}
