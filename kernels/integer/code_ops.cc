#include "kernels/integer/code_ops.h"

#include <string.h>

#include <algorithm>

namespace halftone::integer {
namespace {

// The part [from, to) of a window's taps along one axis that lies inside [0, extent).
struct Taps {
  Taps(int32_t out, int32_t kernel, int32_t stride, int32_t pad, int32_t extent) {
    from = out * stride - pad;
    to = from + kernel < extent ? from + kernel : extent;
    from = from > 0 ? from : 0;
  }
  int32_t from, to;
};

void take_larger(const uint8_t* in, int64_t count, uint8_t* out) {
  for (int64_t c = 0; c < count; ++c) out[c] = in[c] > out[c] ? in[c] : out[c];
}

int16_t clamped(int32_t v) { return static_cast<int16_t>(v < -1024 ? -1024 : v > 1024 ? 1024 : v); }

// b + (a - zero) between low and high, in bytes alone: one of the two parts of a - zero is 0, so
// that saturating in between changes nothing.
void add_to(const uint8_t* b, const uint8_t* a, int64_t count, uint8_t zero, uint8_t low,
            uint8_t high, uint8_t* y) {
  const auto larger = [](uint8_t u, uint8_t v) { return u > v ? u : v; };
  for (int64_t i = 0; i < count; ++i) {
    const auto more = static_cast<uint8_t>(larger(a[i], zero) - zero);
    const auto less = static_cast<uint8_t>(larger(a[i], zero) - a[i]);
    const auto room = static_cast<uint8_t>(~b[i]);
    const auto up = static_cast<uint8_t>(b[i] + (more < room ? more : room));
    const auto code = static_cast<uint8_t>(larger(up, less) - less);
    const uint8_t raised = larger(code, low);
    y[i] = raised < high ? raised : high;
  }
}

}  // namespace

void map_codes(const uint8_t* in, int64_t pixels, int32_t channels, const uint8_t* table,
               int32_t table_channels, uint8_t* out) {
  if (table_channels == 1) {
    for (int64_t i = 0; i < pixels * channels; ++i) out[i] = table[in[i]];
    return;
  }
  for (int64_t p = 0; p < pixels; ++p) {
    for (int64_t c = 0; c < channels; ++c) *out++ = table[256 * c + *in++];
  }
}

void max_pool_row(const uint8_t* in, const Image& shape, int64_t in_row, const Window& window,
                  int32_t y, int32_t out_width, uint8_t* out) {
  const int64_t channels = shape.channels;
  const Taps ys(y, window.kernel_h, window.stride_h, window.pad_h, shape.height);
  memset(out, 0, static_cast<size_t>(out_width * channels));
  for (int32_t x = 0; x < out_width; ++x, out += channels) {
    const Taps xs(x, window.kernel_w, window.stride_w, window.pad_w, shape.width);
    for (int32_t i = ys.from; i < ys.to; ++i) {
      for (int32_t j = xs.from; j < xs.to; ++j)
        take_larger(in + i * in_row + j * channels, channels, out);
    }
  }
}

void sum_row(const uint8_t* in, int64_t pixels, int32_t channels, int32_t* sums) {
  for (int64_t p = 0; p < pixels; ++p, in += channels) {
    for (int32_t c = 0; c < channels; ++c) sums[c] += in[c];
  }
}

void sum_pixels(const uint8_t* in, const Image& shape, int32_t zero_point, int32_t* acc) {
  const int32_t pixels = shape.height * shape.width;
  for (int32_t c = 0; c < shape.channels; ++c) acc[c] = -zero_point * pixels;
  sum_row(in, pixels, shape.channels, acc);
}

void add_codes(const uint8_t* a, const uint8_t* b, int64_t count, const Sum& sum, uint8_t* y) {
  const auto low_code = static_cast<uint8_t>(std::clamp(sum.low + sum.y_zero, 0, 255));
  const auto high_code = static_cast<uint8_t>(std::clamp(sum.high + sum.y_zero, 0, 255));
  if (sum.b_zero == sum.y_zero)
    return add_to(b, a, count, static_cast<uint8_t>(sum.a_zero), low_code, high_code, y);
  if (sum.a_zero == sum.y_zero)
    return add_to(a, b, count, static_cast<uint8_t>(sum.b_zero), low_code, high_code, y);
  // |a + b - zeros| <= 510: bounds beyond do not matter, and 16 bits suffice.
  const auto zeros = static_cast<int16_t>(sum.a_zero + sum.b_zero);
  const int16_t low = clamped(sum.low), high = clamped(sum.high);
  const auto zero = static_cast<int16_t>(sum.y_zero);
  for (int64_t i = 0; i < count; ++i) {
    int16_t t = static_cast<int16_t>(a[i] + b[i] - zeros);
    t = t < low ? low : t;
    t = t > high ? high : t;
    y[i] = static_cast<uint8_t>(t + zero);
  }
}

void place_channels(const uint8_t* in, int64_t pixels, int32_t channels, int32_t first,
                    int32_t out_channels, uint8_t* out) {
  for (int64_t p = 0; p < pixels; ++p)
    memcpy(out + p * out_channels + first, in + p * channels, static_cast<size_t>(channels));
}

void subsample_pad(const uint8_t* in, int32_t channels, int32_t stride, int32_t before,
                   uint8_t fill, int64_t pixels, int32_t out_channels, uint8_t* out) {
  memset(out, fill, static_cast<size_t>(pixels * out_channels));
  for (int64_t p = 0; p < pixels; ++p, out += out_channels)
    memcpy(out + before, in + p * stride * channels, static_cast<size_t>(channels));
}

}  // namespace halftone::integer
