#include "data/resize.h"

#include <zlib.h>

#include <catch2/catch.hpp>

namespace halftone {
namespace {

Image pattern(int64_t height, int64_t width) {
  Image image{height, width, {}};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        image.pixels.push_back(
            static_cast<uint8_t>((x * x * 37 + y * y * y * 11 + c * 91 + x * y * 53) % 256));
      }
    }
  }
  return image;
}

std::vector<int> channel(const Image& image, size_t c) {
  std::vector<int> values;
  for (size_t i = c; i < image.pixels.size(); i += 3) values.push_back(image.pixels[i]);
  return values;
}

// Expected values: Pillow 13.0's Image.resize(..., BILINEAR) of the same pattern. The checksums are
// CRC-32 of all bytes.
TEST_CASE("resizing gives Pillow's bytes") {
  const Image down = resize_bilinear(pattern(7, 5), 3, 2);
  CHECK(channel(down, 0) == std::vector<int>{81, 122, 168, 167, 126, 137});
  CHECK(channel(down, 2) == std::vector<int>{134, 112, 139, 104, 106, 88});
  const Image up = resize_bilinear(pattern(2, 3), 4, 5);
  CHECK(channel(up, 0) == std::vector<int>{0, 15, 37, 104, 148, 3,  23, 53,  90, 113,
                                           8, 39, 85, 61,  44,  11, 47, 101, 46, 9});
}

TEST_CASE("resizing larger patterns gives Pillow's bytes") {
  const auto checksum = [](const Image& image) {
    return crc32(0, image.pixels.data(), static_cast<uInt>(image.pixels.size()));
  };
  CHECK(checksum(resize_bilinear(pattern(40, 30), 16, 12)) == 0xe0187c96u);
  CHECK(checksum(resize_bilinear(pattern(30, 40), 12, 16)) == 0x5700509bu);
  CHECK(checksum(resize_bilinear(pattern(9, 16), 18, 32)) == 0x9b695bd4u);
  CHECK(checksum(resize_bilinear(pattern(3, 6), 7, 2)) == 0xd303466fu);
}

TEST_CASE("resizing to the same size changes nothing") {
  CHECK(resize_bilinear(pattern(4, 6), 4, 6).pixels == pattern(4, 6).pixels);
}

TEST_CASE("the shorter side is asked for, the other follows") {
  const Image wide = resize_shorter_side(pattern(10, 25), 4);
  CHECK(wide.height == 4);
  CHECK(wide.width == 10);
  const Image tall = resize_shorter_side(pattern(7, 3), 2);
  CHECK(tall.height == 4);  // 4.67, truncated
  CHECK(tall.width == 2);
}

TEST_CASE("a centre crop takes the middle") {
  const Image image = pattern(6, 5);
  const Image crop = centre_crop(image, 2);
  // Rows from (6 - 2) / 2 = 2; columns from 1.5, rounded to even: 2.
  for (int64_t y = 0; y < 2; ++y) {
    for (int64_t i = 0; i < 6; ++i) {
      CHECK(crop.pixels[static_cast<size_t>(y * 6 + i)] ==
            image.pixels[static_cast<size_t>(((y + 2) * 5 + 2) * 3 + i)]);
    }
  }
}

TEST_CASE("a centre crop larger than the image is filled with zeros") {
  const Image crop = centre_crop({1, 1, {5, 6, 7}}, 3);
  std::vector<uint8_t> expected(27, 0);
  expected[12] = 5;
  expected[13] = 6;
  expected[14] = 7;
  CHECK(crop.pixels == expected);
}

}  // namespace
}  // namespace halftone
