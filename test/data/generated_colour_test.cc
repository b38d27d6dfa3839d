#include "data/generated_colour.h"

#include <zlib.h>

#include <catch2/catch.hpp>

namespace halftone {
namespace {

Dataset generate(Split split, int64_t count, uint64_t seed = 0, int threads = 1) {
  ContextOptions context;
  context.threads = threads;
  DatasetOptions options;
  options.limit = count;
  options.seed = seed;
  return make_generated_colour(Context(context), split, options);
}

uint32_t checksum(const Dataset& set) {
  const auto bytes = static_cast<uInt>(set.images.nbytes());
  return static_cast<uint32_t>(crc32(0, set.images.data<uint8_t>(), bytes));
}

TEST_CASE("generated colour pictures are the same bytes everywhere") {
  const Dataset train = generate(Split::kTrain, 300);
  check_dataset(train);
  CHECK(train.images.shape() == Shape{300, 32, 32, 3});
  CHECK(checksum(train) == 0x026486cau);
  CHECK(checksum(generate(Split::kTest, 300)) == 0x689048b3u);
  CHECK(checksum(generate(Split::kTrain, 300, 0, 3)) == checksum(train));
  CHECK(checksum(generate(Split::kTrain, 300, 1)) != checksum(train));
  CHECK(checksum(first_samples(generate(Split::kTrain, 500), 300)) == checksum(train));
}

TEST_CASE("generated colour labels are balanced and not in order") {
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
  for (int64_t c = 0; c < 3; ++c) {
    double sum = 0.0;
    for (int64_t i = c; i < set.images.numel(); i += 3) sum += bytes[i] / 255.0;
    // A tenth of the split: its pictures' means scatter by about 0.15, so the mean by 0.002.
    CHECK(sum / (5000 * 1024) == Approx(set.mean[static_cast<size_t>(c)]).margin(0.01));
  }
}

}  // namespace
}  // namespace halftone
