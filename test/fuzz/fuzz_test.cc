// A short run of fuzz_loaders.
#include "test/fuzz/fuzz.h"

#include <catch2/catch.hpp>

using namespace halftone::test;

TEST_CASE("mutated safetensors files load or are refused in one line") {
  const FuzzCount count = fuzz_safetensors(20000, 2024);
  REQUIRE(count.loaded > 100);
  REQUIRE(count.refused > 10000);
}

TEST_CASE("mutated programs run or are refused in one line") {
  const FuzzCount count = fuzz_programs(50000, 2024);
  REQUIRE(count.run > 1000);
  REQUIRE(count.refused > 10000);
}
