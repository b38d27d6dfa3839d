#include "data/generated_digits.h"

#include <zlib.h>

#include <cmath>

#include <catch2/catch.hpp>
#include "data/digit_glyphs.h"

namespace halftone {
namespace {

Dataset generate(Split split, int64_t count, uint64_t seed = 0, int threads = 1) {
  ContextOptions context;
  context.threads = threads;
  DatasetOptions options;
  options.limit = count;
  options.seed = seed;
  return make_generated_digits(Context(context), split, options);
}

uint32_t checksum(const Dataset& set) {
  const auto bytes = static_cast<uInt>(set.images.nbytes());
  return static_cast<uint32_t>(crc32(0, set.images.data<uint8_t>(), bytes));
}

TEST_CASE("generated digits are the same bytes everywhere") {
  const Dataset train = generate(Split::kTrain, 300);
  check_dataset(train);
  CHECK(train.images.shape() == Shape{300, 28, 28, 1});
  CHECK(checksum(train) == 0x07a1260fu);
  CHECK(checksum(generate(Split::kTest, 300)) == 0x86274366u);
  CHECK(checksum(generate(Split::kTrain, 300, 0, 3)) == checksum(train));
  CHECK(checksum(generate(Split::kTrain, 300, 1)) != checksum(train));
  CHECK(checksum(first_samples(generate(Split::kTrain, 500), 300)) == checksum(train));
}

TEST_CASE("generated digits are balanced and not in order") {
  const Dataset set = generate(Split::kTrain, 200);
  std::vector<int> count(10);
  for (int64_t label : set.labels) ++count[static_cast<size_t>(label)];
  CHECK(count == std::vector<int>(10, 20));
  const auto begin = set.labels.begin();
  CHECK(std::vector<int64_t>(begin, begin + 10) != std::vector<int64_t>(begin + 10, begin + 20));
}

TEST_CASE("the stated statistics are the training split's") {
  const Dataset set = generate(Split::kTrain, 5000);
  const uint8_t* bytes = set.images.data<uint8_t>();
  double sum = 0.0, squares = 0.0;
  for (int64_t i = 0; i < set.images.numel(); ++i) {
    const double value = bytes[i] / 255.0;
    sum += value;
    squares += value * value;
  }
  const double count = static_cast<double>(set.images.numel()), mean = sum / count;
  // A twelfth of the split: its pictures' means scatter by 0.04, so the mean by 0.0006.
  CHECK(mean == Approx(set.mean[0]).margin(0.003));
  CHECK(std::sqrt(squares / count - mean * mean) == Approx(set.stddev[0]).margin(0.005));
}

TEST_CASE("every digit has at least four ways of being written") {
  for (int digit = 0; digit < 10; ++digit) {
    CHECK(digit_glyphs(digit).size() >= 4);
    for (const Glyph& glyph : digit_glyphs(digit)) {
      for (const Stroke& stroke : glyph) {
        CHECK(stroke.points.size() >= 2);
        for (Point p : stroke.points) {
          CHECK(std::abs(p.x) <= 50);
          CHECK((p.y >= -10 && p.y <= 110));
        }
      }
    }
  }
}

}  // namespace
}  // namespace halftone
