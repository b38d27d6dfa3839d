#include <catch2/catch.hpp>

TEST_CASE("a passing case is counted") { REQUIRE(1 + 1 == 2); }
