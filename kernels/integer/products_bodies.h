// The bodies behind products.h, and the walk over pixels that they share. Inside this folder.
#pragma once

#include "kernels/integer/products.h"

namespace halftone::integer {

extern const Body kScalarBody;
#if defined(__x86_64__)
extern const Body kAvx2Body, kAvx512Body;  // the latter without bits
void multiply_bits_avx512(const BitSlab& slab);
void pack_bits_avx512(const uint8_t* codes, int64_t pixels, int32_t channels, uint8_t* bits);
#endif

// Visits pixels in order.
class PixelWalk {
 public:
  PixelWalk(int64_t first, int32_t height, int32_t width)
      : height_(height), width_(width), x_(first % width), y_(first / width % height) {
    image_ = first / width / height;
  }
  int64_t at(const Steps& s) const { return image_ * s.image + y_ * s.row + x_ * s.column; }
  int64_t index() const { return (image_ * height_ + y_) * width_ + x_; }
  int64_t row() const { return y_; }
  int64_t column() const { return x_; }
  void advance() {
    if (++x_ < width_) return;
    x_ = 0;
    if (++y_ < height_) return;
    y_ = 0, ++image_;
  }

 private:
  int64_t height_, width_, x_, y_, image_;
};

}  // namespace halftone::integer
