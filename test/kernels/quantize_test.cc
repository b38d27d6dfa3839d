#include "kernels/quantize.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>

using namespace halftone;
using quant_math::Grid;
using quant_math::Rounding;

namespace {

Tensor random_tensor(const Context& context, const Shape& shape, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> values(shape.numel());
  for (float& v : values) v = normal(rng);
  return Tensor::from(context, shape, values);
}

Context context_of(int threads) {
  ContextOptions options;
  options.threads = threads;
  return Context(options);
}

// Position on `axis` of flat element i.
int64_t position(const Shape& shape, int axis, int64_t i) {
  for (int a = shape.rank() - 1; a > axis; --a) i /= shape[a];
  return i % shape[axis];
}

}  // namespace

TEST_CASE("fake quantization is the scalar rule at every axis, forward and backward") {
  const Shape shape{5, 7, 3, 11};
  for (const int threads : {1, 3}) {
    const Context context = context_of(threads);
    const Tensor x = random_tensor(context, shape, 1), dy = random_tensor(context, shape, 2);
    for (const Rounding rounding : {Rounding::kOnnx, Rounding::kNni}) {
      for (int axis = -1; axis < 4; ++axis) {
        kernels::Grids grids;
        grids.axis = axis;
        grids.rounding = rounding;
        for (int64_t c = 0; c < (axis < 0 ? 1 : shape[axis]); ++c) {
          grids.list.push_back(
              {0.03f + 0.01f * static_cast<float>(c), static_cast<int32_t>(c % 16), 0, 15});
        }
        Tensor y = Tensor::empty(context, shape), dx = Tensor::empty(context, shape);
        kernels::fake_quantize(x, grids, y);
        kernels::fake_quantize_backward(dy, x, grids, dx);
        for (int64_t i = 0; i < x.numel(); ++i) {
          const Grid& g = grids.list[axis < 0 ? 0 : position(shape, axis, i)];
          const float v = x.data<float>()[i];
          const bool nni = rounding == Rounding::kNni;
          const int32_t code = nni ? quant_math::quantize_nni(v, g) : quant_math::quantize(v, g);
          const bool pass = nni ? quant_math::ste_mask_nni(v, g) : quant_math::ste_mask(v, g);
          if (y.data<float>()[i] != quant_math::dequantize(code, g))
            FAIL("forward " << axis << " " << i);
          if (dx.data<float>()[i] != (pass ? dy.data<float>()[i] : 0.0f))
            FAIL("backward " << axis << " " << i);
        }
      }
    }
  }
  SUCCEED();
}

TEST_CASE("ties at step 0.25: zero point before or after rounding") {
  // x = -10 .. 9.75 in steps of 0.25, scale 0.5: every second value is a tie (NNI's case G09).
  const Context context;
  for (const int32_t z : {0, 3, 4}) {
    std::vector<float> x;
    for (int k = -40; k < 40; ++k) x.push_back(0.25f * static_cast<float>(k));
    const Tensor in = Tensor::from(context, Shape{80}, x);
    Tensor onnx = Tensor::empty(context, {80}, DType::kUInt8), nni = onnx.clone();
    kernels::quantize_to_codes(in, {0.5f, z, 0, 15}, Rounding::kOnnx, onnx);
    kernels::quantize_to_codes(in, {0.5f, z, 0, 15}, Rounding::kNni, nni);
    int different = 0;
    for (int i = 0; i < 80; ++i) different += onnx.data<uint8_t>()[i] != nni.data<uint8_t>()[i];
    REQUIRE(different ==
            (z == 3 ? 15 : 0));  // the interior ties, one per code step, and only when z is odd
  }
}

TEST_CASE("fewer scales than channels are refused") {
  const Context context;
  const Tensor x = Tensor::zeros(context, {2, 3});
  Tensor y = Tensor::zeros(context, {2, 3});
  kernels::Grids grids;
  grids.axis = 1;
  grids.list.resize(2);
  REQUIRE_THROWS_WITH(kernels::fake_quantize(x, grids, y), Catch::Contains("3 scales"));
}

TEST_CASE("ranges at every axis; NaN makes its own range NaN, no other") {
  for (const int threads : {1, 2}) {
    const Context context = context_of(threads);
    const Shape shape{6, 40, 30, 9};
    Tensor x = random_tensor(context, shape, 5);
    x.data<float>()[17] = std::numeric_limits<float>::quiet_NaN();
    for (int axis = -1; axis < 4; ++axis) {
      const auto got = kernels::observe_ranges(x, axis);
      std::vector<kernels::Range> want(got.size(), {INFINITY, -INFINITY});
      for (int64_t i = 0; i < x.numel(); ++i) {
        auto& r = want[axis < 0 ? 0 : position(shape, axis, i)];
        r.low = std::min(r.low, x.data<float>()[i]);
        r.high = std::max(r.high, x.data<float>()[i]);
      }
      for (size_t c = 0; c < got.size(); ++c) {
        if (c == static_cast<size_t>(axis < 0 ? 0 : position(shape, axis, 17))) {
          REQUIRE((std::isnan(got[c].low) && std::isnan(got[c].high)));
          continue;
        }
        REQUIRE(got[c].low == want[c].low);
        REQUIRE(got[c].high == want[c].high);
      }
    }
  }
}

TEST_CASE("codes to integers and back") {
  const Context context;
  const Tensor codes = Tensor::from(context, Shape{3}, std::vector<uint8_t>{0, 128, 255});
  Tensor y = Tensor::empty(context, {3});
  kernels::codes_to_integers(codes, 128, y);
  REQUIRE(y.to_vector<float>() == std::vector<float>{-128, 0, 127});
}

TEST_CASE("weights: negated rows and narrow codes shifted to the top") {
  const Context context;
  const Tensor w =
      Tensor::from(context, Shape{2, 3}, std::vector<float>{-0.7f, 0.2f, 0.7f, -1.4f, 0.4f, 9.0f});
  Tensor codes = Tensor::empty(context, {2, 3}, DType::kInt8);
  kernels::WeightCodes options;
  options.grids = {{0.1f, 0, -7, 7}, {0.2f, 0, -7, 7}};
  options.negated = {0, 1};
  options.shift = 4;
  kernels::quantize_weights(w, options, codes);
  REQUIRE(codes.to_vector<int8_t>() == std::vector<int8_t>{-112, 32, 112, 112, -32, -112});
  Tensor integers = Tensor::empty(context, {2, 3});
  kernels::weights_to_integers(codes, integers);
  REQUIRE(integers.to_vector<float>() == std::vector<float>{-112, 32, 112, 112, -32, -112});
}

TEST_CASE("weights with a zero point are stored less their row's offset") {
  const Context context;
  const Tensor w =
      Tensor::from(context, Shape{3, 3}, std::vector<float>{-9, 0.5f, 9, -9, 0.5f, 9, 0, 0.5f, 9});
  Tensor codes = Tensor::empty(context, {3, 3}, DType::kInt8);
  kernels::WeightCodes options;
  // Integers -100 .. 155 and the negatives of them; 0 .. 255.
  options.grids = {{0.05f, 100, 0, 255}, {0.05f, 100, 0, 255}, {0.01f, 0, 0, 255}};
  options.negated = {0, 1, 0};
  options.offsets = {28, -27, 128};
  kernels::quantize_weights(w, options, codes);
  REQUIRE(codes.to_vector<int8_t>() ==
          std::vector<int8_t>{-128, -18, 127, 127, 17, -128, -128, -78, 127});
}

TEST_CASE("weights back to reals") {
  const Context context;
  const Tensor codes = Tensor::from(context, Shape{2, 2}, std::vector<int8_t>{3, -4, 127, 0});
  Tensor y = Tensor::empty(context, {2, 2});
  kernels::weights_to_reals(codes, {0.5f, -0.25f}, {}, y);
  REQUIRE(y.to_vector<float>() == std::vector<float>{1.5f, -2.0f, -31.75f, 0.0f});
  kernels::weights_to_reals(codes, {0.5f, -0.25f}, {-3, 128}, y);
  REQUIRE(y.to_vector<float>() == std::vector<float>{0.0f, -3.5f, -63.75f, -32.0f});
}
