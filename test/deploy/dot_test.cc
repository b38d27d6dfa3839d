// The bodies of the engine's products give the same sums, at the extremes too.
#include <catch2/catch.hpp>
#include <cstring>
#include <string>

#include "kernels/integer/dot.h"

using namespace halftone::integer;

namespace {

uint32_t next(uint32_t& state) { return state = state * 1664525u + 1013904223u; }

std::vector<int32_t> sums_of(const Body& body, const std::vector<uint8_t>& x,
                             const std::vector<int8_t>& w, int32_t depth) {
  std::vector<int32_t> acc(w.size() / static_cast<size_t>(depth));
  body.dot_rows(x.data(), w.data(), depth, static_cast<int32_t>(acc.size()), acc.data());
  return acc;
}

}  // namespace

TEST_CASE("every body gives the scalar body's sums") {
  REQUIRE(std::string(bodies().front().name) == "scalar");
  uint32_t state = 7;
  for (const int32_t depth : {64, 128, 576, 8192}) {
    for (const int32_t rows : {1, 3, 4, 5, 10}) {
      for (const int extreme : {0, 1, 2}) {
        std::vector<uint8_t> x(depth);
        std::vector<int8_t> w(static_cast<size_t>(depth) * rows);
        for (uint8_t& v : x) v = extreme > 0 ? 255 : static_cast<uint8_t>(next(state) >> 24);
        for (int8_t& v : w)
          v = extreme == 1 ? 127 : extreme == 2 ? -128 : static_cast<int8_t>(next(state) >> 24);
        int64_t first = 0;
        for (int32_t k = 0; k < depth; ++k) first += int64_t{x[k]} * w[k];
        for (const Body& body : bodies()) {
          INFO(body.name << " " << depth << " " << rows << " " << extreme);
          const std::vector<int32_t> acc = sums_of(body, x, w, depth);
          REQUIRE(acc[0] == first);
          REQUIRE(acc == sums_of(bodies().front(), x, w, depth));
        }
      }
    }
  }
}

TEST_CASE("sums wrap modulo 2^32 in every body") {
  const int32_t depth = 1 << 17;
  const std::vector<uint8_t> x(depth, 255);
  const std::vector<int8_t> w(depth, 127);
  const auto wrapped = static_cast<int32_t>(static_cast<uint32_t>(uint64_t{255} * 127 * depth));
  for (const Body& body : bodies()) REQUIRE(sums_of(body, x, w, depth)[0] == wrapped);
}
