// The operations of the integer engine on one image, but for the products (dot.h): plain loops.
// Codes are uint8, accumulators int32; images (H, W, C).
#pragma once

#include <stdint.h>

#include "kernels/integer/quant_math.h"
#include "kernels/integer/window.h"

namespace halftone::integer {

// The taps of output pixel (y, x) over `count` channels from `first` on, as (kh, kw, count);
// `pad` where the window leaves the image.
void gather_taps(const uint8_t* image, const Image& in, const Window& window, int32_t y, int32_t x,
                 int32_t first, int32_t count, uint8_t pad, uint8_t* taps);

// code = table[256 * c + code], c the channel, or 0 for a table of one channel.
void map_codes(const uint8_t* in, int64_t pixels, int32_t channels, const uint8_t* table,
               int32_t table_channels, uint8_t* out);

// Windows that leave the image take what lies inside. Every window has a tap inside.
void max_pool(const uint8_t* in, const Image& shape, const Window& window, const Image& out_shape,
              uint8_t* out);
// The same of accumulators; the smallest where takes_min[c] is not 0.
void max_pool(const int32_t* in, const Image& shape, const Window& window, const Image& out_shape,
              const uint8_t* takes_min, int32_t* out);

// acc[c] = sum over the image of (code - zero_point).
void sum_pixels(const uint8_t* in, const Image& shape, int32_t zero_point, int32_t* acc);

// Whose accumulators become codes: quant_math::epilogue of (acc + offset[c]) with channels[c].
struct Epilogue {
  const quant_math::Channel* channels;
  const int32_t* offset;  // added modulo 2^32 first: what the zero point of x costs; may be null
  float low, high;        // lo - z, hi - z; of a float output: the activation's bounds
  int32_t zero_point;
};
void epilogue_row(const int32_t* acc, int32_t channels, const Epilogue& e, uint8_t* out);
void epilogue_row(const int32_t* acc, int32_t channels, const Epilogue& e, float* out);

// y = clamp((a - a_zero) + (b - b_zero), low, high) + y_zero
struct Sum {
  int32_t a_zero, b_zero, y_zero, low, high;
};
void add_codes(const uint8_t* a, const uint8_t* b, int64_t count, const Sum& sum, uint8_t* y);

// Writes `channels` of every pixel of `in` to the channels from `first` on of out's pixels.
void place_channels(const uint8_t* in, int64_t pixels, int32_t channels, int32_t first,
                    int32_t out_channels, uint8_t* out);

// Every stride-th pixel, `before` channels of `fill` in front, and `fill` behind up to
// out_shape.channels.
void subsample_pad(const uint8_t* in, const Image& shape, int32_t stride, int32_t before,
                   uint8_t fill, const Image& out_shape, uint8_t* out);

}  // namespace halftone::integer
