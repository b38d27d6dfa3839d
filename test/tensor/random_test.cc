#include "tensor/random.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>
#include <vector>

#include "tensor/error.h"

using namespace halftone;

using Words = std::array<uint32_t, 4>;

// Random123's kat_vectors, philox4x32 10: counter words c0..c3, key words k0 k1.
TEST_CASE("Philox4x32-10 gives the authors' known answers") {
  REQUIRE(Philox{0, 0}(0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  REQUIRE(Philox{UINT64_MAX, UINT64_MAX}(UINT64_MAX) ==
          Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  const Philox pi{0x299f31d0a4093822, 0x0370734413198a2e};
  REQUIRE(pi(0x85a308d3243f6a88) == Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("four elements share one counter") {
  const Philox random{5, 6};
  const Words words = random(3);
  for (uint64_t i = 0; i < 4; ++i) REQUIRE(random.bits(12 + i) == words[i]);
}

TEST_CASE("uniform numbers are multiples of 2^-24 in [0, 1) with the moments of their kind") {
  const Philox random{1, 2};
  const int n = 200000;
  double sum = 0, squares = 0;
  for (int i = 0; i < n; ++i) {
    const double u = random.uniform(i);
    if (u < 0 || u >= 1 || u * 0x1p24 != std::floor(u * 0x1p24)) FAIL(u);
    sum += u;
    squares += u * u;
  }
  // Five standard errors: of the mean sqrt(1/12/n), of the mean square sqrt(4/45/n).
  REQUIRE(std::fabs(sum / n - 0.5) < 5 * std::sqrt(1.0 / 12 / n));
  REQUIRE(std::fabs(squares / n - 1.0 / 3) < 5 * std::sqrt(4.0 / 45 / n));
}

TEST_CASE("normal numbers have mean 0, deviation 1, and their tails") {
  const Philox random{3, 4};
  const int n = 200000;
  double sum = 0, squares = 0, neighbours = 0;
  int beyond = 0;
  for (int i = 0; i < n; ++i) {
    const double x = random.normal(i);
    sum += x;
    squares += x * x;
    neighbours += x * random.normal(i ^ 1);
    beyond += std::fabs(x) > 1.959964;
  }
  // Five standard errors: sqrt(1/n), sqrt(2/n), sqrt(2/n) (each pair counts twice), binomial 5 %.
  REQUIRE(std::fabs(sum / n) < 5 * std::sqrt(1.0 / n));
  REQUIRE(std::fabs(squares / n - 1) < 5 * std::sqrt(2.0 / n));
  REQUIRE(std::fabs(neighbours / n) < 5 * std::sqrt(2.0 / n));
  REQUIRE(std::fabs(beyond / static_cast<double>(n) - 0.05) < 5 * std::sqrt(0.05 * 0.95 / n));
}

TEST_CASE("numbers below a bound are all hit, about equally often") {
  const Philox random{9, 0};
  const int n = 70000;
  std::vector<int> hits(7);
  for (int i = 0; i < n; ++i) ++hits.at(random.below(i, 7));
  // Five standard deviations of a binomial with p = 1/7.
  for (int h : hits) REQUIRE(std::abs(h - n / 7) < 5 * std::sqrt(n * 6.0 / 49));
  REQUIRE(random.below(0, 1) == 0);
  REQUIRE_THROWS_AS(random.below(0, 0), Error);
}

TEST_CASE("streams, seeds and counters differ; two integers restore a state") {
  RandomState state{11, 0};
  std::set<uint32_t> firsts;
  for (int i = 0; i < 100; ++i) firsts.insert(state.stream().bits(0));
  REQUIRE(firsts.size() == 100);
  REQUIRE(Philox{12, 0}.bits(0) != Philox{11, 0}.bits(0));
  RandomState resumed{state.seed, state.next};
  REQUIRE(resumed.stream().bits(5) == state.stream().bits(5));
}
