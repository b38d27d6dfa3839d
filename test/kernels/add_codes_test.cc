#include "kernels/add_codes.h"

#include <catch2/catch.hpp>

#include "test/kernels/oracle.h"

using namespace halftone;
using namespace halftone::test;

TEST_CASE("codes of one scale: sums, their range, and the gradient's mask, all pairs of codes") {
  for (const int threads : {1, 3}) {
    const Context context = with_threads(threads);
    std::vector<uint8_t> a, b;
    std::vector<float> dy;
    for (int i = 0; i < 256; ++i) {
      for (int j = 0; j < 256; ++j) {
        a.push_back(static_cast<uint8_t>(i));
        b.push_back(static_cast<uint8_t>(j));
        dy.push_back(static_cast<float>(i - 2 * j) + 0.5f);
      }
    }
    const Shape shape{256, 256};
    const Tensor ta = Tensor::from(context, shape, a), tb = Tensor::from(context, shape, b);
    for (const kernels::CodeSum& sum : {kernels::CodeSum{128, 0, 0, 0, 255, 1, 255},
                                        kernels::CodeSum{128, 128, 128, -128, 127, -128, 127},
                                        kernels::CodeSum{128, 0, 0, 0, 90, 1, 89}}) {
      Tensor y = Tensor::empty(context, shape, DType::kUInt8), dt = Tensor::empty(context, shape);
      const kernels::SumRange range = kernels::add_codes(ta, tb, sum, y);
      kernels::add_codes_backward(Tensor::from(context, shape, dy), ta, tb, sum, dt);
      REQUIRE(range.low == -sum.a_zero - sum.b_zero);
      REQUIRE(range.high == 510 - sum.a_zero - sum.b_zero);
      size_t wrong = 0;
      for (size_t i = 0; i < a.size(); ++i) {
        const int t = a[i] - sum.a_zero + b[i] - sum.b_zero;
        const int code = (t < sum.low ? sum.low : t > sum.high ? sum.high : t) + sum.y_zero;
        const bool passes = t >= sum.pass_low && t <= sum.pass_high;
        wrong += y.data<uint8_t>()[i] != code;
        wrong += dt.data<float>()[i] != (passes ? dy[i] : 0.0f);
      }
      REQUIRE(wrong == 0);
    }
    std::vector<float> shares;
    double weighted = 0;  // of whole and half numbers: exact in any order
    for (int q = 0; q < kernels::kCodeSums; ++q) shares.push_back(static_cast<float>(q % 7 - 3));
    for (size_t i = 0; i < a.size(); ++i)
      weighted += static_cast<double>(dy[i]) * static_cast<double>((a[i] + b[i]) % 7 - 3);
    REQUIRE(weighted != 0);
    REQUIRE(kernels::add_codes_weighted_sum(Tensor::from(context, shape, dy), ta, tb, shares) ==
            weighted);
    Tensor y = Tensor::empty(context, {3}, DType::kUInt8);
    REQUIRE_THROWS_WITH(kernels::add_codes(ta, tb, {}, y), Catch::Contains("add_codes"));
  }
}
