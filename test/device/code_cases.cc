// Integer codes on a device, through the kernels' public interface: the codes, accumulators and
// statistics of the CPU.
#include <limits>

#include "kernels/add_codes.h"
#include "kernels/elementwise.h"
#include "kernels/epilogue.h"
#include "kernels/integer_conv.h"
#include "kernels/pool.h"
#include "kernels/quantize.h"
#include "test/device/both.h"
#include "test/device/device_under_test.h"

using namespace halftone;
using namespace halftone::kernels;
using halftone::test::Both;

namespace {

using Tensors = std::vector<Tensor>;
const Shape kShape{3, 6, 5, 7};

// Every value of the type, in no order.
template <class T>
Tensor numbers(const Context& context, const Shape& shape, uint64_t stream) {
  const Philox random{7, stream};
  std::vector<T> values(shape.numel());
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<T>(static_cast<int32_t>(random.uniform(i) * 256.0f) +
                               std::numeric_limits<T>::min());
  }
  return Tensor::from(context, shape, values);
}

Tensor accumulators(const Both& b, const Shape& shape, float size) {
  const Philox random{8, 1};
  std::vector<int32_t> values(shape.numel());
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<int32_t>(size * random.normal(i));
  }
  return Tensor::from(b.home(), shape, values);
}

Channels channels_of(int64_t count) {
  Channels out;
  for (int64_t c = 0; c < count; ++c) {
    out.push_back({c == 2 ? 0 : -1, static_cast<int32_t>(100 * c - 250),
                   0.01f + 0.003f * static_cast<float>(c)});
  }
  return out;
}

}  // namespace

TEST_CASE("values to codes and back on a device") {
  NEED_DEVICE();
  Both b;
  const Tensor x = b.in(kShape, 1), w = b.in({5, 3, 3, 7}, 2);
  const Tensor codes = numbers<uint8_t>(b.home(), kShape, 3);
  const Tensor signed_codes = numbers<int8_t>(b.home(), w.shape(), 4);
  for (const auto rounding : {quant_math::Rounding::kOnnx, quant_math::Rounding::kNni}) {
    b.check(
        [&](Tensors& t) {
          quantize_to_codes(t[0], {0.013f, 101, 0, 255}, rounding, t[1]);
        },
        {x, b.out(kShape, DType::kUInt8)});
  }
  b.check([](Tensors& t) { codes_to_integers(t[0], 101, t[1]); }, {codes, b.out(kShape)});
  b.check([](Tensors& t) { codes_to_reals({t[0], {0.3f, 7}}, t[1]); }, {codes, b.out(kShape)});
  b.check([](Tensors& t) { weights_to_integers(t[0], t[1]); }, {signed_codes, b.out(w.shape())});
  const std::vector<float> scales = {0.1f, -0.2f, 0.3f, 1e-9f, 5.0f};
  for (const std::vector<int32_t>& offsets : {std::vector<int32_t>{}, {128, 0, -127, 3, -4}}) {
    b.check([&](Tensors& t) { weights_to_reals(t[0], scales, offsets, t[1]); },
            {signed_codes, b.out(w.shape())});
  }
  b.check([](Tensors& t) { drop_codes(t[0], t[1], 9, t[2]); },
          {codes, Tensor::zeros(b.home(), kShape), b.out(kShape, DType::kUInt8)});
  WeightCodes one{{{0.3f, 0, -7, 7}}, {}, 4, {}}, rows{{}, {0, 1, 0, 1, 1}, 4, {}};
  for (const float scale : scales) rows.grids.push_back({std::fabs(scale), 0, -7, 7});
  WeightCodes affine{{}, {0, 1, 0, 0, 1}, 0, {7, -3, 128, -127, 0}};
  const int32_t zeros[] = {121, 124, 0, 255, 127};
  for (size_t r = 0; r < 5; ++r) affine.grids.push_back({std::fabs(scales[r]), zeros[r], 0, 255});
  for (const WeightCodes& options : {one, rows, affine}) {
    b.check([&](Tensors& t) { quantize_weights(t[0], options, t[1]); },
            {w, b.out(w.shape(), DType::kInt8)});
  }
}

TEST_CASE("sums and windows of codes on a device") {
  NEED_DEVICE();
  Both b;
  const Tensor a = numbers<uint8_t>(b.home(), kShape, 1), c = numbers<uint8_t>(b.home(), kShape, 2);
  const Tensor dy = b.in(kShape, 3);
  CodeSum sum{128, 3, 0, 5, 200, 6, 199};
  std::vector<SumRange> ranges;
  b.check([&](Tensors& t) { ranges.push_back(add_codes(t[0], t[1], sum, t[2])); },
          {a, c, b.out(kShape, DType::kUInt8)});
  REQUIRE(ranges[0].low == ranges[1].low);
  REQUIRE(ranges[0].high == ranges[1].high);
  b.check([&](Tensors& t) { add_codes_backward(t[0], t[1], t[2], sum, t[3]); },
          {dy, a, c, b.out(kShape)});
  std::vector<float> shares(kCodeSums);
  for (int32_t q = 0; q < kCodeSums; ++q) shares[q] = static_cast<float>(q % 17) - 8.0f;
  // Doubles, in another order.
  REQUIRE(add_codes_weighted_sum(b.there(dy), b.there(a), b.there(c), shares) ==
          Approx(add_codes_weighted_sum(dy, a, c, shares)).epsilon(1e-12));

  Pool2dOptions o;
  o.kernel_h = 3, o.pad_h = 1;
  const Shape pooled = pool2d_shape(kShape, o);
  const Tensor taps = b.out(pooled, DType::kUInt8), out = b.out(pooled, DType::kInt32);
  b.check([&](Tensors& t) { sum_code_windows(t[0], 7, o, t[1]); }, {a, out});
  b.check([&](Tensors& t) { max_pool2d(t[0], o, t[1]); }, {a, taps.clone()});
  b.check([&](Tensors& t) { max_pool2d_with_taps(t[0], o, t[1], t[2]); },
          {a, taps.clone(), taps.clone()});
  b.check(
      [&](Tensors& t) {
        max_pool2d_accumulators(t[0], {0, 1, 0, 0, 1, 1, 0}, o, t[1], &t[2]);
      },
      {accumulators(b, kShape, 40.0f), out.clone(), taps.clone()});
  b.check([](Tensors& t) { subsample_pad(t[0], 2, 1, t[1], 4); },
          {a, b.out({3, 3, 3, 9}, DType::kUInt8)});
}

TEST_CASE("the epilogue's four passes on a device") {
  NEED_DEVICE();
  Both b;
  for (const int64_t width : {1, 7, 64}) {
    const Shape shape{50, 9, width};
    const Channels channels = channels_of(width);
    const Tensor acc = accumulators(b, shape, 3000.0f), large = accumulators(b, shape, 2e8f);
    for (const Tensor& values : {acc, large}) {
      const AccumulatorStatistics want = accumulator_statistics(values, 1 << 30);
      const AccumulatorStatistics got = accumulator_statistics(b.there(values), 1 << 30);
      REQUIRE(got.count == want.count);
      REQUIRE(got.sum == want.sum);
      REQUIRE((got.sum_squares == want.sum_squares));
      REQUIRE(got.low == want.low);
      REQUIRE(got.high == want.high);
    }
    b.check(
        [&](Tensors& t) {
          epilogue_to_codes(t[0], channels, {-10, 90, 10}, t[1]);
        },
        {acc, b.out(shape, DType::kUInt8)});
    b.check([&](Tensors& t) { epilogue_to_float(t[0], channels, -20.0f, 50.0f, t[1]); },
            {acc, b.out(shape)});

    const Tensor dy = b.in(shape, 4);
    const quant_math::Pass pass{-15.0f, 60.0f, -10.0f, 90.0f};
    std::vector<float> slope(width), centre(width);
    for (int64_t c = 0; c < width; ++c) {
      slope[c] = 0.5f + 0.1f * static_cast<float>(c % 5);
      centre[c] = static_cast<float>(10 * c);
    }
    const GradientCoefficients k{slope, slope, centre, centre};
    b.check([&](Tensors& t) { epilogue_backward_apply(t[0], t[1], channels, pass, k, t[2]); },
            {dy, acc, b.out(shape)});
    const LearnedOutput learned{-15.0f, 60.0f, quant_math::lsq_plus_rule({0.1f, 10, 0, 100})};
    for (const LearnedOutput* output : {static_cast<const LearnedOutput*>(nullptr), &learned}) {
      const GradientSums want = epilogue_backward_sums(dy, acc, channels, pass, centre, output);
      const GradientSums got =
          epilogue_backward_sums(b.there(dy), b.there(acc), channels, pass, centre, output);
      for (int64_t c = 0; c < width; ++c) {  // of 450 terms, those of the second up to 10^4
        REQUIRE(got.sum[c] == Approx(want.sum[c]).epsilon(1e-5).margin(1e-3));
        REQUIRE(got.sum_centred[c] == Approx(want.sum_centred[c]).epsilon(1e-5).margin(1.0));
      }
      REQUIRE(got.scale == Approx(want.scale).epsilon(1e-5).margin(1e-2));
      REQUIRE(got.offset == Approx(want.offset).epsilon(1e-5).margin(1e-2));
    }
  }
}

TEST_CASE("sums of products of codes on a device") {
  NEED_DEVICE();
  Both b;
  Conv2dOptions o;
  o.pad_h = o.pad_w = 1;
  const Tensor x = numbers<uint8_t>(b.home(), kShape, 1);
  const Tensor w = numbers<int8_t>(b.home(), {4, 3, 3, 7}, 2);
  // Large: sums past 2^24, in several terms.
  const Tensor many = numbers<uint8_t>(b.home(), {3, 3000}, 3);
  const Tensor matrix = Tensor::full(b.home(), {4, 3000}, 127.0f).to(DType::kInt8);
  const auto same = [&](const auto& run, const Shape& shape) {
    AccumulatorStatistics want, got;
    Tensor here = b.out(shape, DType::kInt32), there = b.there(here);
    const int64_t bound = run(false, here, &want);
    REQUIRE(run(true, there, &got) == bound);
    REQUIRE(there.to_vector<int32_t>() == here.to_vector<int32_t>());
    REQUIRE(got.sum == want.sum);
    REQUIRE((got.sum_squares == want.sum_squares));
  };
  const auto place = [&](bool moved, const Tensor& t) { return moved ? b.there(t) : t; };
  for (const RowOffsets& offsets : {RowOffsets{}, RowOffsets{128, 0, -127, 5}}) {
    same(
        [&](bool moved, Tensor& acc, AccumulatorStatistics* s) {
          return integer_conv2d({place(moved, x), {0.1f, 101}}, place(moved, w), o, acc, s,
                                offsets);
        },
        {3, 6, 5, 4});
  }
  same(
      [&](bool moved, Tensor& acc, AccumulatorStatistics* s) {
        return integer_linear({place(moved, many), {0.1f, 0}}, place(moved, matrix), acc, s,
                              {-127, 1, 128, 0});
      },
      {3, 4});
}
