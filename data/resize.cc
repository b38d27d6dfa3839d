#include "data/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tensor/error.h"

namespace halftone {
namespace {

constexpr int64_t kLargestSide = 1 << 17;

constexpr int kPrecision = 32 - 8 - 2;  // fraction bits of a weight, as in Pillow's Resample.c

// Source pixels of one target pixel and their weights.
struct Tap {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

std::vector<Tap> triangle_taps(int64_t from, int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double support = std::max(scale, 1.0), shrink = 1.0 / support;
  std::vector<Tap> taps(static_cast<size_t>(to));
  for (int64_t i = 0; i < to; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(centre - support + 0.5), 0);
    const int64_t end = std::min<int64_t>(static_cast<int64_t>(centre + support + 0.5), from);
    std::vector<double> weights;
    double sum = 0.0;
    for (int64_t x = first; x < end; ++x) {
      const double distance = std::abs((static_cast<double>(x) - centre + 0.5) * shrink);
      weights.push_back(std::max(0.0, 1.0 - distance));
      sum += weights.back();
    }
    Tap& tap = taps[static_cast<size_t>(i)];
    tap.first = first;
    for (double w : weights)
      tap.weights.push_back(static_cast<int32_t>(w / sum * (1 << kPrecision) + 0.5));
  }
  return taps;
}

// One byte: taps over bytes `stride` apart.
uint8_t blend(const Tap& tap, const uint8_t* in, int64_t stride) {
  int32_t sum = 1 << (kPrecision - 1);
  in += tap.first * stride;
  for (int32_t w : tap.weights) {
    sum += *in * w;
    in += stride;
  }
  return static_cast<uint8_t>(std::min(std::max(sum >> kPrecision, 0), 255));
}

Image resize_rows(const Image& image, int64_t width) {
  const std::vector<Tap> taps = triangle_taps(image.width, width);
  Image out{image.height, width,
            std::vector<uint8_t>(static_cast<size_t>(image.height * width * 3))};
  for (int64_t y = 0; y < image.height; ++y) {
    const uint8_t* row = image.pixels.data() + y * image.width * 3;
    uint8_t* target = out.pixels.data() + y * width * 3;
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        target[3 * x + c] = blend(taps[static_cast<size_t>(x)], row + c, 3);
      }
    }
  }
  return out;
}

Image resize_columns(const Image& image, int64_t height) {
  const std::vector<Tap> taps = triangle_taps(image.height, height);
  const int64_t row = image.width * 3;
  Image out{height, image.width, std::vector<uint8_t>(static_cast<size_t>(height * row))};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t i = 0; i < row; ++i) {
      out.pixels[static_cast<size_t>(y * row + i)] =
          blend(taps[static_cast<size_t>(y)], image.pixels.data() + i, row);
    }
  }
  return out;
}

}  // namespace

Image resize_bilinear(const Image& image, int64_t height, int64_t width) {
  const Image rows = width == image.width ? image : resize_rows(image, width);
  return height == image.height ? rows : resize_columns(rows, height);
}

Image resize_shorter_side(const Image& image, int64_t side) {
  const int64_t shorter = std::min(image.height, image.width);
  const int64_t longer = std::max(image.height, image.width);
  if (longer / shorter * side > kLargestSide) {
    throw HALFTONE_ERROR("resize")
        .expected("a longer side of at most " + std::to_string(kLargestSide) + " pixels")
        .found("about " + std::to_string(longer / shorter * side) + ", from a picture of " +
               std::to_string(image.height) + " x " + std::to_string(image.width))
        .fix("remove such thin pictures, or set a smaller resize");
  }
  const auto scaled = [&](int64_t extent) { return std::max<int64_t>(extent * side / shorter, 1); };
  return resize_bilinear(image, scaled(image.height), scaled(image.width));
}

Image centre_crop(const Image& image, int64_t side) {
  // torchvision pads first (the odd pixel after), then rounds the corner half to even.
  const int64_t pad_top = std::max<int64_t>(side - image.height, 0) / 2;
  const int64_t pad_left = std::max<int64_t>(side - image.width, 0) / 2;
  const auto corner = [&](int64_t extent) {
    return static_cast<int64_t>(
        std::nearbyint(static_cast<double>(std::max(extent, side) - side) / 2.0));
  };
  const int64_t top = corner(image.height) - pad_top, left = corner(image.width) - pad_left;
  Image out{side, side, std::vector<uint8_t>(static_cast<size_t>(side * side * 3))};
  for (int64_t y = std::max<int64_t>(0, -top); y < std::min(side, image.height - top); ++y) {
    const int64_t begin = std::max<int64_t>(0, -left), end = std::min(side, image.width - left);
    std::memcpy(out.pixels.data() + (y * side + begin) * 3,
                image.pixels.data() + ((y + top) * image.width + begin + left) * 3,
                static_cast<size_t>((end - begin) * 3));
  }
  return out;
}

}  // namespace halftone
