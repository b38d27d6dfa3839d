#include "data/image.h"

#include <png.h>

#include <algorithm>
#include <cstdlib>

#include "test/data/pictures.h"

namespace halftone {
namespace {

using Catch::Contains;
using test::Bytes;

Image read(const std::string& name, const Bytes& bytes) {
  const test::TemporaryFolder folder;
  return read_image(folder.write(name, bytes));
}

std::string read_error(const std::string& name, const Bytes& bytes) {
  return test::message_of([&] { read(name, bytes); });
}

TEST_CASE("an RGB JPEG comes back almost as it was") {
  Bytes samples;
  for (int i = 0; i < 16 * 8; ++i) {
    samples.insert(samples.end(), {static_cast<uint8_t>(i), 100, static_cast<uint8_t>(200 - i)});
  }
  const Image image = read("A.JPG", test::jpeg(16, 8, 3, samples));
  CHECK(image.height == 16);
  CHECK(image.width == 8);
  REQUIRE(image.pixels.size() == samples.size());
  // Quality 100 still rounds, and halves the resolution of the colour differences.
  for (size_t i = 0; i < samples.size(); ++i) CHECK(std::abs(image.pixels[i] - samples[i]) <= 8);
}

TEST_CASE("a grey JPEG is repeated in three channels") {
  const Image image = read("a.jpeg", test::jpeg(8, 8, 1, Bytes(64, 77)));
  CHECK(image.pixels == Bytes(192, 77));
}

TEST_CASE("a CMYK JPEG is converted as Pillow does") {
  // Inverted: 255 is no ink. Half the black ink (127), full cyan (0), a quarter of magenta (191).
  Bytes samples;
  for (int i = 0; i < 64; ++i) samples.insert(samples.end(), {0, 191, 255, 128});
  const Image image = read("a.jpg", test::jpeg(8, 8, 4, samples));
  CHECK(image.pixels[0] == 0);
  CHECK(image.pixels[1] == 96);  // 128 * 191 / 255
  CHECK(image.pixels[2] == 128);
}

TEST_CASE("PNG of every kind becomes RGB") {
  SECTION("RGB") { CHECK(read("a.png", test::plain_png(1, 1, 1, 2, 3)).pixels == Bytes{1, 2, 3}); }
  SECTION("RGBA: alpha is dropped, not blended") {
    const Bytes row = {10, 20, 30, 0, 40, 50, 60, 128};
    const Image image = read("a.PNG", test::png(1, 2, {PNG_COLOR_TYPE_RGB_ALPHA}, {row}));
    CHECK(image.pixels == Bytes{10, 20, 30, 40, 50, 60});
  }
  SECTION("grey") {
    CHECK(read("a.png", test::png(1, 2, {PNG_COLOR_TYPE_GRAY}, {{9, 200}})).pixels ==
          Bytes{9, 9, 9, 200, 200, 200});
  }
  SECTION("grey with alpha") {
    CHECK(read("a.png", test::png(1, 1, {PNG_COLOR_TYPE_GRAY_ALPHA}, {{9, 3}})).pixels ==
          Bytes{9, 9, 9});
  }
  SECTION("one bit") {
    CHECK(read("a.png", test::png(1, 2, {PNG_COLOR_TYPE_GRAY, 1}, {{0x40}})).pixels ==
          Bytes{0, 0, 0, 255, 255, 255});
  }
  SECTION("16 bits") {
    const Bytes row = {0x12, 0xff, 0x34, 0x00, 0x56, 0x80};
    CHECK(read("a.png", test::png(1, 1, {PNG_COLOR_TYPE_RGB, 16}, {row})).pixels ==
          Bytes{0x12, 0x34, 0x56});
  }
  SECTION("a palette with transparency") {
    const test::PngOptions options = {PNG_COLOR_TYPE_PALETTE, 8, {1, 2, 3, 7, 8, 9}, {255, 0}};
    CHECK(read("a.png", test::png(1, 2, options, {{1, 0}})).pixels == Bytes{7, 8, 9, 1, 2, 3});
  }
  SECTION("interlaced") {
    test::PngOptions options = {PNG_COLOR_TYPE_GRAY};
    options.interlaced = true;
    const Image image = read("a.png", test::png(2, 2, options, {{1, 2}, {3, 4}}));
    CHECK(image.pixels == Bytes{1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4});
  }
}

// The height and width that a JPEG's frame header claims.
void set_claimed_size(Bytes& jpeg, uint8_t marker, uint16_t side) {
  const Bytes start = {0xff, marker};
  auto at = std::search(jpeg.begin(), jpeg.end(), start.begin(), start.end());
  REQUIRE(at != jpeg.end());
  for (int offset : {5, 7}) {
    at[offset] = static_cast<uint8_t>(side >> 8);
    at[offset + 1] = static_cast<uint8_t>(side);
  }
}

TEST_CASE("a progressive JPEG is decoded, and one that claims too many pixels is not begun") {
  Bytes jpeg = test::jpeg(8, 8, 3, Bytes(8 * 8 * 3, 50), true);
  CHECK(read("a.jpg", jpeg).pixels == Bytes(8 * 8 * 3, 50));
  set_claimed_size(jpeg, 0xc2, 65500);  // begun, this one would take 25 GB of coefficients
  CHECK_THAT(read_error("big.jpg", jpeg),
             Contains("big.jpg") && Contains("at most 178956970 pixels, found 65500 x 65500"));
}

TEST_CASE("damaged pictures are errors that name the file") {
  Bytes jpeg = test::jpeg(32, 32, 3, Bytes(32 * 32 * 3, 50));
  Bytes png = test::plain_png(8, 8, 1, 2, 3);
  SECTION("a text file named .jpg") {
    CHECK_THAT(read_error("note.jpg", {'h', 'e', 'l', 'l', 'o'}),
               Contains("note.jpg") && Contains("Not a JPEG file"));
  }
  SECTION("an empty JPEG") {
    CHECK_THAT(read_error("none.jpg", {}), Contains("none.jpg") && Contains("cannot decode"));
  }
  SECTION("a JPEG cut in its pixels") {
    jpeg.resize(jpeg.size() - 20);
    CHECK_THAT(read_error("cut.jpg", jpeg),
               Contains("cut.jpg") && Contains("Premature end of JPEG file"));
  }
  SECTION("a JPEG cut in its header") {
    jpeg.resize(100);
    CHECK_THAT(read_error("cut.jpg", jpeg), Contains("cut.jpg") && Contains("cannot decode"));
  }
  SECTION("a JPEG with a damaged stretch") {
    Bytes noisy(64 * 64 * 3);
    for (size_t i = 0; i < noisy.size(); ++i) noisy[i] = static_cast<uint8_t>(i * i * 31 >> 3);
    Bytes bytes = test::jpeg(64, 64, 3, noisy);
    for (size_t i = bytes.size() / 2; i < bytes.size() / 2 + 40; ++i) bytes[i] = 0xff;
    CHECK_THAT(read_error("bad.jpg", bytes), Contains("bad.jpg") && Contains("cannot decode"));
  }
  SECTION("a PNG cut short") {
    png.resize(png.size() - 16);
    CHECK_THAT(read_error("cut.png", png),
               Contains("cut.png") && Contains("the file is cut short"));
  }
  SECTION("a PNG with a wrong checksum") {
    png[png.size() - 14] ^= 1;  // the last byte of IDAT's CRC comes 12 before the end
    CHECK_THAT(read_error("crc.png", png), Contains("crc.png") && Contains("CRC error"));
  }
  SECTION("a JPEG named .png") {
    CHECK_THAT(read_error("a.png", jpeg), Contains("a.png") && Contains("Not a PNG file"));
  }
  SECTION("another ending") {
    CHECK_THAT(read_error("a.gif", png), Contains("ending in .jpg, .jpeg or .png"));
  }
}

}  // namespace
}  // namespace halftone
