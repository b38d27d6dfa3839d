#include "kernels/integer/code_ops.h"

#include <string.h>

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

template <class T, class Better>
void pool(const T* in, const Image& shape, const Window& w, const Image& out_shape, Better better,
          T* out) {
  const int64_t channels = shape.channels;
  for (int32_t y = 0; y < out_shape.height; ++y) {
    const Taps ys(y, w.kernel_h, w.stride_h, w.pad_h, shape.height);
    for (int32_t x = 0; x < out_shape.width; ++x, out += channels) {
      const Taps xs(x, w.kernel_w, w.stride_w, w.pad_w, shape.width);
      for (int64_t c = 0; c < channels; ++c) {
        T best = in[(int64_t{ys.from} * shape.width + xs.from) * channels + c];
        for (int32_t i = ys.from; i < ys.to; ++i) {
          for (int32_t j = xs.from; j < xs.to; ++j) {
            const T v = in[(int64_t{i} * shape.width + j) * channels + c];
            if (better(v, best, c)) best = v;
          }
        }
        out[c] = best;
      }
    }
  }
}

int32_t shifted(int32_t acc, const int32_t* offset, int32_t c) {
  if (offset == nullptr) return acc;
  return static_cast<int32_t>(static_cast<uint32_t>(acc) + static_cast<uint32_t>(offset[c]));
}

}  // namespace

void gather_taps(const uint8_t* image, const Image& in, const Window& window, int32_t y, int32_t x,
                 int32_t first, int32_t count, uint8_t pad, uint8_t* taps) {
  for (int32_t i = 0; i < window.kernel_h; ++i) {
    const int32_t row = y * window.stride_h - window.pad_h + i * window.dilation_h;
    for (int32_t j = 0; j < window.kernel_w; ++j, taps += count) {
      const int32_t column = x * window.stride_w - window.pad_w + j * window.dilation_w;
      if (row < 0 || row >= in.height || column < 0 || column >= in.width) {
        memset(taps, pad, static_cast<size_t>(count));
      } else {
        memcpy(taps, image + (int64_t{row} * in.width + column) * in.channels + first,
               static_cast<size_t>(count));
      }
    }
  }
}

void map_codes(const uint8_t* in, int64_t pixels, int32_t channels, const uint8_t* table,
               int32_t table_channels, uint8_t* out) {
  const int64_t step = table_channels > 1 ? 256 : 0;
  for (int64_t p = 0; p < pixels; ++p) {
    for (int64_t c = 0; c < channels; ++c) *out++ = table[step * c + *in++];
  }
}

void max_pool(const uint8_t* in, const Image& shape, const Window& window, const Image& out_shape,
              uint8_t* out) {
  pool(
      in, shape, window, out_shape, [](uint8_t v, uint8_t best, int64_t) { return v > best; }, out);
}

void max_pool(const int32_t* in, const Image& shape, const Window& window, const Image& out_shape,
              const uint8_t* takes_min, int32_t* out) {
  pool(
      in, shape, window, out_shape,
      [=](int32_t v, int32_t best, int64_t c) { return takes_min[c] != 0 ? v < best : v > best; },
      out);
}

void sum_pixels(const uint8_t* in, const Image& shape, int32_t zero_point, int32_t* acc) {
  const int64_t pixels = int64_t{1} * shape.height * shape.width;
  for (int32_t c = 0; c < shape.channels; ++c) acc[c] = 0;
  for (int64_t p = 0; p < pixels; ++p) {
    for (int32_t c = 0; c < shape.channels; ++c) acc[c] += *in++ - zero_point;
  }
}

void epilogue_row(const int32_t* acc, int32_t channels, const Epilogue& e, uint8_t* out) {
  for (int32_t c = 0; c < channels; ++c) {
    const int32_t a = shifted(acc[c], e.offset, c);
    out[c] =
        static_cast<uint8_t>(quant_math::epilogue(a, e.channels[c], e.low, e.high, e.zero_point));
  }
}

void epilogue_row(const int32_t* acc, int32_t channels, const Epilogue& e, float* out) {
  for (int32_t c = 0; c < channels; ++c)
    out[c] = quant_math::epilogue_float(shifted(acc[c], e.offset, c), e.channels[c], e.low, e.high);
}

void add_codes(const uint8_t* a, const uint8_t* b, int64_t count, const Sum& sum, uint8_t* y) {
  const int32_t zeros = sum.a_zero + sum.b_zero, low = sum.low, high = sum.high;
  for (int64_t i = 0; i < count; ++i) {
    const int32_t t = a[i] + b[i] - zeros;
    y[i] = static_cast<uint8_t>((t < low ? low : t > high ? high : t) + sum.y_zero);
  }
}

void place_channels(const uint8_t* in, int64_t pixels, int32_t channels, int32_t first,
                    int32_t out_channels, uint8_t* out) {
  for (int64_t p = 0; p < pixels; ++p)
    memcpy(out + p * out_channels + first, in + p * channels, static_cast<size_t>(channels));
}

void subsample_pad(const uint8_t* in, const Image& shape, int32_t stride, int32_t before,
                   uint8_t fill, const Image& out_shape, uint8_t* out) {
  memset(out, fill, static_cast<size_t>(out_shape.size()));
  for (int32_t y = 0; y < out_shape.height; ++y) {
    for (int32_t x = 0; x < out_shape.width; ++x, out += out_shape.channels) {
      const int64_t from = (int64_t{y} * stride * shape.width + int64_t{x} * stride);
      memcpy(out + before, in + from * shape.channels, static_cast<size_t>(shape.channels));
    }
  }
}

}  // namespace halftone::integer
