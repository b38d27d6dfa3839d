#include "kernels/epilogue.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>

#include "kernels/epilogue_bodies.h"
#include "test/catch_skip.h"

using namespace halftone;

namespace {

Context context_of(int threads) {
  ContextOptions options;
  options.threads = threads;
  return Context(options);
}

struct Fixture {
  Fixture(int threads, int64_t rows, int64_t c, int32_t size) : context(context_of(threads)) {
    std::mt19937 rng(11);
    std::vector<int32_t> values(rows * c);
    std::vector<float> up(rows * c);
    for (auto& v : values)
      v = static_cast<int32_t>(rng() % (2 * static_cast<uint32_t>(size) + 1)) - size;
    for (auto& v : up) v = static_cast<float>(static_cast<int32_t>(rng() % 2001) - 1000) / 1000.0f;
    acc = Tensor::from(context, Shape{rows, c}, values);
    dy = Tensor::from(context, Shape{rows, c}, up);
    for (int64_t k = 0; k < c; ++k) {
      channels.push_back({k == 1 ? 0 : -1, static_cast<int32_t>(17 * k - 5),
                          1.0f / static_cast<float>(size / 300 + k)});
    }
  }
  Context context;
  Tensor acc, dy;
  kernels::Channels channels;
};

}  // namespace

TEST_CASE("accumulator statistics are exact for any size and channel count") {
  for (const int32_t size : {1000, (1 << 24) - 1, 1 << 30}) {
    for (const int64_t c : {1, 6, 64, 100}) {
      const int64_t rows = 40000 / c + 3;
      Fixture f(2, rows, c, size);
      const auto s = kernels::accumulator_statistics(f.acc, size);
      REQUIRE(s.count == rows);
      const int32_t* a = f.acc.data<int32_t>();
      for (int64_t k = 0; k < c; ++k) {
        int64_t sum = 0;
        __int128 squares = 0;
        int32_t low = a[k], high = a[k];
        for (int64_t r = 0; r < rows; ++r) {
          const int32_t v = a[r * c + k];
          sum += v;
          squares += static_cast<__int128>(v) * v;
          low = std::min(low, v);
          high = std::max(high, v);
        }
        REQUIRE((s.sum[k] == sum && s.sum_squares[k] == squares && s.low[k] == low &&
                 s.high[k] == high));
        const long double mean = static_cast<long double>(sum) / rows;
        const long double variance = static_cast<long double>(squares) / rows - mean * mean;
        // 64-bit mantissas against one rounding of an exact integer.
        REQUIRE(std::abs(static_cast<double>(variance) - s.variance(k)) <= 1e-12 * s.variance(k));
      }
    }
  }
}

TEST_CASE("floats that hold integers become accumulators, with their statistics") {
  Fixture f(2, 9000, 6, (1 << 24) - 1);
  Tensor acc = Tensor::empty(f.context, f.acc.shape(), DType::kInt32);
  const Tensor floats = f.acc.to(DType::kFloat32);
  std::memcpy(acc.raw(), floats.raw(), acc.nbytes());
  const auto s = kernels::to_accumulators(acc, 1 << 24);
  REQUIRE(acc.to_vector<int32_t>() == f.acc.to_vector<int32_t>());
  const auto wanted = kernels::accumulator_statistics(f.acc, 1 << 24);
  REQUIRE((s.count == wanted.count && s.sum == wanted.sum && s.sum_squares == wanted.sum_squares &&
           s.low == wanted.low && s.high == wanted.high));
}

namespace {

// What every pass of one instruction set makes of the same block.
struct Passes {
  std::vector<float> values, gradient, sums;
  std::vector<double> learned;
  std::vector<uint8_t> codes;
  std::vector<int64_t> statistics;
  std::vector<int32_t> widened;
};

class Block {
 public:
  Block(int64_t rows, int64_t width)
      : f_(1, rows, width, 3000), size_(rows * width), width_(width) {
    for (const auto& c : f_.channels)
      keep_.push_back(c.keep), bias_.push_back(c.bias), multiplier_.push_back(c.multiplier);
  }

  Passes run(const kernels::EpilogueBodies& bodies) {
    Passes p;
    const kernels::EpilogueBlock block{
        0, size_, width_, f_.acc.data<int32_t>(), keep_.data(), bias_.data(), multiplier_.data()};
    outputs(bodies, block, p);
    gradients(bodies, block, p);
    statistics(bodies, p);
    return p;
  }

 private:
  void outputs(const kernels::EpilogueBodies& bodies, const kernels::EpilogueBlock& block,
               Passes& p) const {
    p.codes.resize(size_), p.values.resize(size_);
    const kernels::EpilogueOutput out{-100.0f, 87.0f, 120, p.codes.data(), p.values.data()};
    bodies.to_codes(block, out);
    bodies.to_float(block, out);
  }

  void gradients(const kernels::EpilogueBodies& bodies, const kernels::EpilogueBlock& block,
                 Passes& p) {
    std::vector<float> centre(width_, 3.5f), a(width_, 0.3f), b(width_, 1e-4f), d(width_, 0.01f);
    p.sums.resize(2 * width_), p.learned.resize(2 * width_), p.gradient.resize(size_);
    kernels::EpilogueSums s{};
    s.dy = f_.dy.data<float>(), s.centre = centre.data();
    s.pass = {-6.0f, 9.0f, -8.0f, 7.0f};
    s.act_low = -6.0f, s.act_high = 9.0f;
    s.learned = quant_math::lsq_rule({1.0f, 0, -8, 7});
    s.sum = p.sums.data(), s.centred = s.sum + width_;
    s.scale = p.learned.data(), s.offset = s.scale + width_;
    bodies.backward_sums(block, s);
    bodies.backward_apply(
        block, {s.dy, centre.data(), a.data(), b.data(), d.data(), s.pass, p.gradient.data()});
  }

  void statistics(const kernels::EpilogueBodies& bodies, Passes& p) const {
    const Tensor floats = f_.acc.to(DType::kFloat32);
    p.widened.resize(size_);
    std::memcpy(p.widened.data(), floats.raw(), floats.nbytes());
    std::vector<int64_t> sum(width_), squares(width_);
    std::vector<int32_t> low(width_, 1 << 30), high(width_, -(1 << 30));
    bodies.statistics({0, size_, width_, p.widened.data(), true, sum.data(), squares.data(),
                       low.data(), high.data()});
    for (const auto& part : {sum, squares})
      p.statistics.insert(p.statistics.end(), part.begin(), part.end());
    for (const auto& part : {low, high})
      p.statistics.insert(p.statistics.end(), part.begin(), part.end());
  }

  Fixture f_;
  int64_t size_, width_;
  std::vector<int32_t> keep_, bias_;
  std::vector<float> multiplier_;
};

}  // namespace

TEST_CASE("every pass has the same bits from every instruction set") {
  const kernels::EpilogueBodies* wide = kernels::epilogue_bodies_avx512();
  if (wide == nullptr) HALFTONE_SKIP("this processor has no AVX-512");
  Block block(999, 54);  // whole vectors and a rest
  const Passes a = block.run(*wide), b = block.run(kernels::epilogue_bodies_avx2());
  REQUIRE(a.codes == b.codes);
  REQUIRE(a.values == b.values);
  REQUIRE(a.sums == b.sums);
  REQUIRE(a.learned == b.learned);
  REQUIRE(a.gradient == b.gradient);
  REQUIRE(a.widened == b.widened);
  REQUIRE(a.statistics == b.statistics);
}

TEST_CASE("constant accumulators have variance 0, no batch is refused") {
  const Context context;
  const Tensor acc = Tensor::from(context, Shape{3, 1}, std::vector<int32_t>(3, 1 << 29));
  REQUIRE(kernels::accumulator_statistics(acc, 1 << 29).variance(0) == 0.0);
  REQUIRE_THROWS_WITH(
      kernels::accumulator_statistics(Tensor::zeros(context, {0, 2}, DType::kInt32), 1),
      Catch::Contains("empty batch"));
}

TEST_CASE("epilogue passes follow the scalar rule") {
  for (const int64_t c : {1, 6, 70}) {
    Fixture f(2, 5000 / c + 1, c, 30000);
    Tensor codes = Tensor::empty(f.context, f.acc.shape(), DType::kUInt8);
    Tensor y = Tensor::empty(f.context, f.acc.shape());
    kernels::epilogue_to_codes(f.acc, f.channels, {0.0f, 187.0f, 40}, codes);
    kernels::epilogue_to_float(f.acc, f.channels, 0.0f, 6.0f, y);
    for (int64_t i = 0; i < f.acc.numel(); ++i) {
      const int32_t a = f.acc.data<int32_t>()[i];
      const auto& channel = f.channels[i % c];
      if (codes.data<uint8_t>()[i] != quant_math::epilogue(a, channel, 0.0f, 187.0f, 40)) FAIL(i);
      if (y.data<float>()[i] != quant_math::epilogue_float(a, channel, 0.0f, 6.0f)) FAIL(i);
    }
  }
  SUCCEED();
}

TEST_CASE("backward passes: sums and gradient, the same for every thread count") {
  const quant_math::Pass pass{0.0f, 120.0f, -10.0f, 100.0f};
  std::vector<double> first;
  for (const int threads : {1, 2, 5}) {
    const int64_t c = 6;
    Fixture f(threads, 20000, c, 30000);
    const std::vector<float> centre = {0, 1, 2, 300, -4, 5};
    const auto sums = kernels::epilogue_backward_sums(f.dy, f.acc, f.channels, pass, centre);
    const kernels::GradientCoefficients k{
        {1, 2, 3, 4, 5, 6}, {.1f, .2f, .3f, 0, 0, 1}, {1, 0, 0, 2, 0, 0}, centre};
    Tensor dacc = Tensor::empty(f.context, f.acc.shape());
    kernels::epilogue_backward_apply(f.dy, f.acc, f.channels, pass, k, dacc);
    std::vector<double> sum(c), centred(c), size(c);
    for (int64_t i = 0; i < f.acc.numel(); ++i) {
      const int64_t j = i % c;
      const int32_t a = f.acc.data<int32_t>()[i];
      const auto& ch = f.channels[j];
      const float t = quant_math::scaled(a, ch.keep, ch.bias, ch.multiplier);
      const float g = quant_math::passes(t, pass) ? f.dy.data<float>()[i] : 0.0f;
      sum[j] += g;
      centred[j] += static_cast<double>(g) * (a - centre[j]);
      size[j] += std::abs(static_cast<double>(g) * (a - centre[j]));
      const float want = k.a[j] * g + k.b[j] * (static_cast<float>(a) - centre[j]) + k.d[j];
      if (dacc.data<float>()[i] != want) FAIL(i);
    }
    for (int64_t j = 0; j < c; ++j) {
      // Float sums of at most 512 terms.
      REQUIRE(std::abs(sums.sum_centred[j] - centred[j]) <= 1e-5 * size[j]);
      REQUIRE(std::abs(sums.sum[j] - sum[j]) <= 1e-5 * 20000);
    }
    if (first.empty()) first = sums.sum_centred;
    REQUIRE(first == sums.sum_centred);
  }
}

TEST_CASE("backward sums of a learned grid: double, the same for every thread count") {
  const quant_math::Grid grid{1.0f, 3, 0, 15};
  for (const quant_math::LsqRule& rule :
       {quant_math::lsq_rule({1.0f, 0, -8, 7}), quant_math::lsq_plus_rule(grid)}) {
    const kernels::LearnedOutput learned{-6.0f, 9.0f, rule};
    std::vector<double> first;
    for (const int threads : {1, 2, 5}) {
      Fixture f(threads, 20000, 6, 3000);
      const auto sums = kernels::epilogue_backward_sums(f.dy, f.acc, f.channels, {},
                                                        std::vector<float>(6), &learned);
      long double scale = 0, offset = 0, size = 0;
      for (int64_t i = 0; i < f.acc.numel(); ++i) {
        const auto& ch = f.channels[i % 6];
        const float t =
            quant_math::scaled(f.acc.data<int32_t>()[i], ch.keep, ch.bias, ch.multiplier);
        const auto share =
            quant_math::lsq_share(std::clamp(t, -6.0f, 9.0f), rule, quant_math::LsqEdge::kPaper);
        const long double up = f.dy.data<float>()[i];
        scale += up * static_cast<long double>(share.scale);
        offset += up * static_cast<long double>(share.offset);
        size += std::fabs(up) * (std::fabs(share.scale) + 1);
      }
      REQUIRE(scale != 0);
      // Products are exact in double. Each of the 120,000 terms goes through at most 512 additions
      // of its column and 64 x 60 of columns and chunks, each within 2^-53 of what is summed.
      const double bound = 4400 * 0x1p-53 * static_cast<double>(size);
      REQUIRE(std::abs(sums.scale - static_cast<double>(scale)) <= bound);
      REQUIRE(std::abs(sums.offset - static_cast<double>(offset)) <= bound);
      if (first.empty()) first = {sums.scale, sums.offset};
      REQUIRE(first == std::vector<double>{sums.scale, sums.offset});
    }
  }
}
