#include "tensor/tensor.h"

#include <catch2/catch.hpp>

using namespace halftone;

TEST_CASE("a tensor holds the values it was made from") {
  const Context context;
  const Tensor t = Tensor::from<float>(context, {2, 3}, {1, 2, 3, 4, 5, 6});
  REQUIRE(t.shape() == Shape({2, 3}));
  REQUIRE(t.nbytes() == 24);
  REQUIRE(t.to_vector<float>() == std::vector<float>{1, 2, 3, 4, 5, 6});
  REQUIRE(reinterpret_cast<uintptr_t>(t.raw()) % 64 == 0);
}
