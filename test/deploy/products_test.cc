// Every body of products.h gives what the definitions say, at the extremes too.
#include <catch2/catch.hpp>
#include <cmath>
#include <string>
#include <type_traits>
#include <utility>

#include "kernels/integer/products.h"
#include "test/deploy/numbers.h"

using namespace halftone::integer;
using halftone::test::Numbers;

namespace {

enum class Fill { kRandom, kLargest, kSmallest };

void fill_codes(Numbers& numbers, Fill fill, std::vector<uint8_t>& codes) {
  for (uint8_t& v : codes)
    v = fill == Fill::kRandom ? static_cast<uint8_t>(numbers.below(256)) : 255;
}
void fill_weights(Numbers& numbers, Fill fill, std::vector<int8_t>& weights) {
  for (int8_t& v : weights) {
    v = static_cast<int8_t>(fill == Fill::kLargest    ? 127
                            : fill == Fill::kSmallest ? -128
                                                      : numbers.below(256) - 128);
  }
}

int32_t wrapped(int64_t sum) { return static_cast<int32_t>(static_cast<uint32_t>(sum)); }

uint8_t code_of(int32_t sum, float multiplier, const CodeRange& r) {
  const double t = static_cast<double>(std::nearbyint(static_cast<float>(sum) * multiplier));
  const double code = t + r.zero;
  return static_cast<uint8_t>(code < r.low ? r.low : code > r.high ? r.high : code);
}

// 30 pixels in memory, out of order and with gaps; runs of some codes.
struct SlabCase {
  SlabCase(int32_t vectors, int32_t channels, int64_t run_count, int64_t run_bytes, Fill fill,
           bool offsets = false, bool bounded = false)
      : run_count(run_count), run_bytes(run_bytes) {
    Numbers numbers{7};
    x.resize(2 * 4096);
    weights.resize(static_cast<size_t>(vectors * kLanes * run_count * run_bytes));
    fill_codes(numbers, fill, x), fill_weights(numbers, fill, weights);
    for (int32_t i = 0; i < vectors * kLanes; ++i) {
      start.push_back(numbers.below(2000) - 1000);
      multiplier.push_back(
          numbers.below(10) == 0 ? 0.5f : static_cast<float>(numbers.below(1000)) * 1e-5f);
    }
    for (int64_t r = 0; r < run_count; ++r) runs.push_back(r * 301);
    for (int32_t i = 0; i < vectors * kLanes; ++i) offset.push_back(numbers.below(256) - 127);
    for (int32_t p = 0; p < 30; ++p) window.push_back(numbers.below(1 << 20));
    for (int32_t p = 0; p < 30; ++p)
      from.push_back(p * 7 % 30 * 97), to.push_back(p * 11 % 30 * 80);
    has_offsets = offsets;
    slab.x = x.data(), slab.offset = offsets ? offset.data() : nullptr;
    slab.runs = runs.data(), slab.run_count = run_count, slab.run_bytes = run_bytes;
    slab.weights = weights.data(), slab.start = start.data(), slab.multiplier = multiplier.data();
    slab.vectors = vectors, slab.channels = channels;
    slab.code_range = bounded ? CodeRange{} : CodeRange{3, 1, 250};
    slab.bounded = bounded;
    slab.real_range = {-2.0f, 50.0f};
  }

  int32_t sum(int64_t pixel, int32_t lane) const {
    const uint8_t* codes = x.data() + from[static_cast<size_t>(pixel)];
    const int64_t more = has_offsets ? window[static_cast<size_t>(pixel)] : 0;
    int64_t total = start[static_cast<size_t>(lane)] + more * offset[static_cast<size_t>(lane)];
    for (int64_t r = 0; r < run_count; ++r) {
      for (int64_t k = 0; k < run_bytes; ++k) {
        const int64_t quad = r * run_bytes / 4 + k / 4;
        total += int64_t{codes[runs[r] + k]} *
                 weights[(quad * slab.vectors * kLanes + lane) * 4 + k % 4];
      }
    }
    return wrapped(total);
  }
  // Of pixels [first, last).
  Slab part(int64_t first, int64_t last) const {
    Slab s = slab;
    s.pixels = last - first, s.from = from.data() + first, s.to = to.data() + first;
    if (has_offsets) s.window = window.data() + first;
    return s;
  }

  int64_t run_count, run_bytes;
  bool has_offsets;
  std::vector<int64_t> from, to;
  std::vector<uint8_t> x;
  std::vector<int8_t> weights;
  std::vector<int32_t> start, offset, window;
  std::vector<float> multiplier;
  std::vector<int64_t> runs;
  Slab slab{};
};

// Results of one kind, 171 where nothing may be written. Sums lie close together.
template <class T, class Expected>
void check(const SlabCase& c, T* Slab::*field, Expected expected) {
  const bool dense = std::is_same_v<T, int32_t>;
  const auto place = [&](int64_t p) { return dense ? p * c.slab.channels : c.to[p]; };
  for (const Body& body : bodies()) {
    for (const int64_t last : {30, 29, 7, 1}) {
      INFO(body.name << " to pixel " << last);
      std::vector<T> made(3200, T(171)), want = made;
      for (int64_t p = 0; p < last; ++p) {
        for (int32_t i = 0; i < c.slab.channels; ++i) want[place(p) + i] = expected(p, i);
      }
      for (const auto& [first, end] :
           {std::pair(int64_t{0}, last / 2), std::pair(last / 2, last)}) {
        Slab slab = c.part(first, end);
        slab.*field = made.data() + (dense ? place(first) : 0);
        body.multiply(slab);
      }
      REQUIRE(made == want);
    }
  }
}

// The lane that becomes channel c of codes.
int32_t lane_of(int32_t vectors, int32_t c) {
  for (int32_t i = 0; i < vectors * kLanes; ++i) {
    if (channel_of(vectors, i / kLanes, i % kLanes) == c) return i;
  }
  FAIL("no lane");
  return -1;
}

}  // namespace

TEST_CASE("every body multiplies, to codes, to reals and to sums") {
  REQUIRE(std::string(bodies().front().name) == "scalar");
  for (const int32_t vectors : {1, 2, 3, 4}) {
    for (const int32_t missing : {0, 5}) {
      for (const int64_t run_bytes : {4, 12, 64}) {
        for (const Fill fill : {Fill::kRandom, Fill::kLargest, Fill::kSmallest}) {
          const SlabCase c(vectors, vectors * kLanes - missing, 3, run_bytes, fill, run_bytes == 12,
                           run_bytes == 64);
          INFO(vectors << " vectors, " << missing << " missing, runs of " << run_bytes);
          check(c, &Slab::sums, [&](int64_t p, int32_t i) { return c.sum(p, i); });
          check(c, &Slab::codes, [&](int64_t p, int32_t i) {
            const int32_t lane = lane_of(vectors, i);
            return code_of(c.sum(p, lane), c.multiplier[lane], c.slab.code_range);
          });
          check(c, &Slab::reals, [&](int64_t p, int32_t i) {
            const float t = static_cast<float>(c.sum(p, i)) * c.multiplier[i];
            return t < -2.0f ? -2.0f : t > 50.0f ? 50.0f : t;
          });
        }
      }
    }
  }
}

TEST_CASE("sums wrap modulo 2^32, and codes saturate, in every body") {
  const int64_t depth = 1 << 17;
  const std::vector<uint8_t> x(depth, 255);
  const std::vector<int8_t> weights(depth * kLanes, 127);
  const std::vector<int32_t> start(kLanes, 0);
  const int64_t run = 0;
  for (const float multiplier : {1.0f, 1e30f}) {
    const std::vector<float> multipliers(kLanes, multiplier);
    for (const int64_t bytes : {depth / 2, depth}) {  // 2^31 from 66311 on
      for (const Body& body : bodies()) {
        int32_t sum = 0;
        uint8_t code = 7;
        Slab s{};
        s.pixels = 1, s.x = x.data(), s.from = &run, s.to = &run;
        s.runs = &run, s.run_count = 1, s.run_bytes = bytes;
        s.weights = weights.data(), s.start = start.data(), s.multiplier = multipliers.data();
        s.vectors = s.channels = 1, s.sums = &sum;
        body.multiply(s);
        REQUIRE(sum == wrapped(int64_t{255} * 127 * bytes));
        s.sums = nullptr, s.codes = &code;
        body.multiply(s);
        REQUIRE(int{code} == (sum > 0 ? 255 : 0));
      }
    }
  }
}

TEST_CASE("every body pools sums, the smallest where they fall") {
  Numbers numbers{7};
  const int32_t width = 5, height = 6;
  for (const int32_t vectors : {1, 2, 3, 4}) {
    const int32_t lanes = vectors * kLanes;
    std::vector<int32_t> sums, flip;
    std::vector<float> multiplier(lanes, 0.25f);
    for (int32_t i = 0; i < lanes; ++i) flip.push_back(-(numbers.below(2)));
    for (int32_t i = 0; i < lanes * width * height; ++i) sums.push_back(numbers.below(2000) - 1000);
    PooledSlab s{};
    s.sums = sums.data(), s.height = height, s.width = width;
    s.pool.kernel_h = s.pool.kernel_w = 3, s.pool.stride_h = s.pool.stride_w = 2;
    s.pool.pad_h = s.pool.pad_w = 1;
    s.first = 0, s.last = 3, s.out_width = 3, s.flip = flip.data();
    s.multiplier = multiplier.data(), s.vectors = vectors, s.channels = lanes - 1;
    s.to = {0, 3 * lanes, lanes}, s.code_range = {128, 0, 255};
    std::vector<uint8_t> want(9 * lanes, 171);
    for (int32_t i = 0; i < 9 * lanes; ++i) {
      const int32_t x = i / lanes % 3, y = i / lanes / 3, lane = lane_of(vectors, i % lanes);
      int32_t best = flip[lane] != 0 ? INT32_MAX : INT32_MIN;
      for (int32_t a = std::max(0, 2 * y - 1); a < std::min(height, 2 * y + 2); ++a) {
        for (int32_t b = std::max(0, 2 * x - 1); b < std::min(width, 2 * x + 2); ++b) {
          const int32_t v = sums[(a * width + b) * lanes + lane];
          best = flip[lane] != 0 ? std::min(best, v) : std::max(best, v);
        }
      }
      if (i % lanes < s.channels) want[i] = code_of(best, 0.25f, s.code_range);
    }
    for (const Body& body : bodies()) {
      INFO(body.name << " " << vectors);
      std::vector<uint8_t> codes(9 * lanes, 171);
      s.codes = codes.data();
      body.finish_pooled(s);
      REQUIRE(codes == want);
    }
  }
}

namespace {

struct DepthwiseCase {
  int32_t kernel_h, kernel_w, stride, dilation, channels;
  bool offsets = false;
};

void check_depthwise(const DepthwiseCase& c) {
  Numbers numbers{7};
  const int32_t side = 4, in = (side - 1) * c.stride + 1 + (5 - 1) * c.dilation;
  const int32_t blocks = (c.channels + kDepthwiseBlock - 1) / kDepthwiseBlock;
  const int32_t quads = (c.kernel_h + kQuad - 1) / kQuad, lanes = blocks * kDepthwiseBlock;
  std::vector<uint8_t> x(static_cast<size_t>(in) * in * c.channels + 64);
  std::vector<int8_t> taps(static_cast<size_t>(c.channels) * c.kernel_h * c.kernel_w);
  fill_codes(numbers, Fill::kRandom, x), fill_weights(numbers, Fill::kRandom, taps);
  std::vector<int8_t> weights(static_cast<size_t>(lanes) * c.kernel_w * quads * kQuad, 0);
  std::vector<int32_t> start(lanes), offset(lanes);
  std::vector<float> multiplier(lanes, 1e-3f);
  Depthwise d{};
  if (c.offsets) d.offset = offset.data();
  d.first = 0, d.last = side, d.height = d.width = side, d.channels = c.channels;
  const int64_t row = int64_t{in} * c.channels;
  d.x = x.data(), d.from = {0, c.stride * row, int64_t{c.stride} * c.channels};
  d.to = {0, side * c.channels, c.channels};
  d.kernel_h = c.kernel_h, d.kernel_w = c.kernel_w;
  d.tap_row = c.dilation * row, d.tap_column = int64_t{c.dilation} * c.channels;
  d.weights = weights.data(), d.start = start.data(), d.multiplier = multiplier.data();
  d.code_range = {5, 2, 255};
  std::vector<uint8_t> want(static_cast<size_t>(side) * side * c.channels);
  for (int32_t channel = 0; channel < c.channels; ++channel) {
    const int32_t block = channel / kDepthwiseBlock;
    const int32_t lane = lane_of(kSlabVectors, channel % kDepthwiseBlock);
    start[block * kDepthwiseBlock + lane] = channel * 10;
    const int32_t more = c.offsets ? numbers.below(256) - 127 : 0;
    offset[block * kDepthwiseBlock + lane] = more;
    for (int32_t i = 0; i < c.kernel_h; ++i) {
      for (int32_t j = 0; j < c.kernel_w; ++j) {
        const int64_t quad = (int64_t{block} * c.kernel_w + j) * quads + i / kQuad;
        weights[(quad * kDepthwiseBlock + lane) * kQuad + i % kQuad] =
            taps[(i * c.kernel_w + j) * c.channels + channel];
      }
    }
    for (int32_t p = 0; p < side * side; ++p) {
      int32_t sum = channel * 10;
      for (int32_t t = 0; t < c.kernel_h * c.kernel_w; ++t) {
        const int64_t a = p / side * c.stride + t / c.kernel_w * c.dilation;
        const int64_t b = p % side * c.stride + t % c.kernel_w * c.dilation;
        sum += int32_t{x[(a * in + b) * c.channels + channel]} *
               (taps[t * c.channels + channel] + more);
      }
      want[p * c.channels + channel] = code_of(sum, 1e-3f, d.code_range);
    }
  }
  for (const Body& body : bodies()) {
    INFO(body.name << ": " << c.kernel_h << " x " << c.kernel_w << ", stride " << c.stride
                   << ", dilation " << c.dilation << ", " << c.channels << " channels");
    std::vector<uint8_t> codes(want.size() + 1, 171);
    d.codes = codes.data();
    body.depthwise(d);
    REQUIRE(codes.back() == 171);
    codes.pop_back();
    REQUIRE(codes == want);
  }
}

}  // namespace

TEST_CASE("every body convolves channel by channel") {
  for (const int32_t channels : {1, 16, 64, 80, 130}) {
    for (const int32_t stride : {1, 2}) {
      for (const int32_t dilation : {1, 2}) {
        check_depthwise({3, 3, stride, dilation, channels});
        check_depthwise({5, 5, stride, dilation, channels});
        check_depthwise({1, 3, stride, dilation, channels});
        check_depthwise({4, 2, stride, dilation, channels});
        for (const int32_t kernel : {1, 2, 3, 4, 5})
          check_depthwise({kernel, 3, stride, dilation, channels, true});
      }
    }
  }
}
