// The operations of the integer engine but for the products (products.h), on rows of images: plain
// loops. Codes are uint8, images (H, W, C).
#pragma once

#include <stdint.h>

#include "kernels/integer/quant_math.h"
#include "kernels/integer/window.h"

namespace halftone::integer {

// code = table[256 * c + code], c the channel, or 0 for a table of one channel.
void map_codes(const uint8_t* in, int64_t pixels, int32_t channels, const uint8_t* table,
               int32_t table_channels, uint8_t* out);

// Row y of the result, `out_width` pixels: the largest code of each window. Windows that leave the
// image take what lies inside, and every window has a tap inside. `in_row`: codes from one row of
// the image to the next.
void max_pool_row(const uint8_t* in, const Image& shape, int64_t in_row, const Window& window,
                  int32_t y, int32_t out_width, uint8_t* out);

// sums[c] += the codes of a row's pixels.
void sum_row(const uint8_t* in, int64_t pixels, int32_t channels, int32_t* sums);
// acc[c] = sum over the image of (code - zero_point).
void sum_pixels(const uint8_t* in, const Image& shape, int32_t zero_point, int32_t* acc);

// y = clamp((a - a_zero) + (b - b_zero), low, high) + y_zero; zeros are 0 to 255.
struct Sum {
  int32_t a_zero, b_zero, y_zero, low, high;
};
void add_codes(const uint8_t* a, const uint8_t* b, int64_t count, const Sum& sum, uint8_t* y);

// Writes `channels` of every pixel of `in` to the channels from `first` on of out's pixels.
void place_channels(const uint8_t* in, int64_t pixels, int32_t channels, int32_t first,
                    int32_t out_channels, uint8_t* out);

// `pixels` of the result: every stride-th pixel, `before` channels of `fill` in front, and `fill`
// behind up to out_channels.
void subsample_pad(const uint8_t* in, int32_t channels, int32_t stride, int32_t before,
                   uint8_t fill, int64_t pixels, int32_t out_channels, uint8_t* out);

}  // namespace halftone::integer
