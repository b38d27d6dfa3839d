#include "data/augment.h"

#include <map>

#include <catch2/catch.hpp>

namespace halftone {
namespace {

using Bytes = std::vector<uint8_t>;

const SampleShape kShape = {2, 3, 2};
const Bytes kSample = {10, 11, 20, 21, 30, 31,   // row 0
                       40, 41, 50, 51, 60, 61};  // row 1

Bytes moved(const SampleDraw& draw) {
  Bytes out(kSample.size(), 99);
  move_bytes(kSample.data(), kShape, draw, out.data());
  return out;
}

TEST_CASE("a sample is shifted and flipped, zeros where it looks outside") {
  CHECK(moved({0, 0, false}) == kSample);
  CHECK(moved({0, 0, true}) == Bytes{30, 31, 20, 21, 10, 11, 60, 61, 50, 51, 40, 41});
  CHECK(moved({1, 0, false}) == Bytes{40, 41, 50, 51, 60, 61, 0, 0, 0, 0, 0, 0});
  CHECK(moved({0, -1, false}) == Bytes{0, 0, 10, 11, 20, 21, 0, 0, 40, 41, 50, 51});
  CHECK(moved({-1, 1, true}) == Bytes{0, 0, 0, 0, 0, 0, 0, 0, 30, 31, 20, 21});
  CHECK(moved({5, 0, false}) == Bytes(12, 0));
}

TEST_CASE("normalised values are the table's, byte for byte") {
  Dataset set;
  set.mean = {0.5f, 0.25f};
  set.stddev = {0.5f, 0.3f};
  const std::vector<float> table = normalisation_table(set);
  REQUIRE(table.size() == 512);
  CHECK(table[0] == -1.0f);
  CHECK(table[255] == 1.0f);
  CHECK(table[256 + 17] == (17 / 255.0f - 0.25f) / 0.3f);
  for (const SampleDraw& draw : {SampleDraw{0, 0, false}, SampleDraw{1, -2, true}}) {
    std::vector<float> values(kSample.size());
    move_normalised(kSample.data(), kShape, draw, table.data(), values.data());
    const Bytes bytes = moved(draw);
    for (size_t i = 0; i < bytes.size(); ++i) CHECK(values[i] == table[i % 2 * 256 + bytes[i]]);
  }
}

TEST_CASE("one channel takes the same table") {
  Dataset set;
  set.mean = {0.1f};
  set.stddev = {0.3f};
  const std::vector<float> table = normalisation_table(set);
  std::vector<float> values(12);
  move_normalised(kSample.data(), {3, 4, 1}, {}, table.data(), values.data());
  for (size_t i = 0; i < 12; ++i) CHECK(values[i] == table[kSample[i]]);
}

TEST_CASE("draws depend on seed, epoch and sample, and on nothing else") {
  Augmentation augmentation;
  augmentation.pad = 4;
  augmentation.flip = true;
  const auto draw = [&](uint64_t seed, int64_t epoch, int64_t sample) {
    const SampleDraw d = draw_sample(augmentation, seed, epoch, sample);
    return std::vector<int>{d.shift_y, d.shift_x, d.flip};
  };
  const auto differ = [&](uint64_t seed, int64_t epoch) {
    int count = 0;
    for (int i = 0; i < 100; ++i) count += draw(seed, epoch, i) != draw(1, 2, i);
    return count;
  };
  CHECK(differ(1, 2) == 0);
  CHECK(differ(1, 3) > 90);
  CHECK(differ(2, 2) > 90);
}

TEST_CASE("all shifts and both flips come about equally often") {
  Augmentation augmentation;
  augmentation.pad = 2;
  augmentation.flip = true;
  std::map<int, int> rows, columns;
  int flips = 0;
  constexpr int kDraws = 5000;
  for (int i = 0; i < kDraws; ++i) {
    const SampleDraw draw = draw_sample(augmentation, 7, 0, i);
    ++rows[draw.shift_y];
    ++columns[draw.shift_x];
    flips += draw.flip;
  }
  // A fifth of the draws each; five standard deviations are 141. Half flipped; five are 177.
  for (int shift = -2; shift <= 2; ++shift) {
    CHECK(std::abs(rows[shift] - kDraws / 5) < 141);
    CHECK(std::abs(columns[shift] - kDraws / 5) < 141);
  }
  CHECK(std::abs(flips - kDraws / 2) < 177);
  CHECK(rows.size() == 5);
  CHECK(columns.size() == 5);
}

TEST_CASE("without augmentation a sample stays where it is") {
  const SampleDraw draw = draw_sample({}, 1, 2, 3);
  CHECK(draw.shift_x == 0);
  CHECK(draw.shift_y == 0);
  CHECK_FALSE(draw.flip);
}

}  // namespace
}  // namespace halftone
