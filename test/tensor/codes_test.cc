#include "tensor/codes.h"

#include <catch2/catch.hpp>

using namespace halftone;

TEST_CASE("dequantize is the rounded product of scale and centred code") {
  const Context context;
  Codes codes;
  codes.values = Tensor::from<uint8_t>(context, {2, 2}, {0, 3, 128, 255});
  codes.params.scale = 0.1f;
  codes.params.zero_point = 3;
  const Tensor values = dequantize(codes);
  REQUIRE(values.shape() == Shape({2, 2}));
  REQUIRE(values.to_vector<float>() == std::vector<float>{0.1f * -3, 0.0f, 0.1f * 125, 0.1f * 252});
  codes.values = Tensor::from<int8_t>(context, {2}, {-128, 127});
  codes.params = {0.5f, 0, -128, 127};
  REQUIRE(dequantize(codes).to_vector<float>() == std::vector<float>{-64.0f, 63.5f});
}

TEST_CASE("values that are no codes are refused") {
  Codes codes;
  REQUIRE_THROWS_AS(dequantize(codes), Error);
  codes.values = Tensor::zeros(Context(), {2});
  REQUIRE_THROWS_WITH(dequantize(codes), Catch::Contains("found float32"));
}

TEST_CASE("parameters are equal when all four are") {
  const QuantParams params{0.5f, 1, 0, 255};
  REQUIRE(params == QuantParams{0.5f, 1, 0, 255});
  REQUIRE_FALSE(params == QuantParams{0.25f, 1, 0, 255});
  REQUIRE_FALSE(params == QuantParams{0.5f, 0, 0, 255});
  REQUIRE_FALSE(params == QuantParams{0.5f, 1, 1, 255});
  REQUIRE_FALSE(params == QuantParams{0.5f, 1, 0, 15});
}
