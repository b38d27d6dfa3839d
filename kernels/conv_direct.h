// Own convolutions for few channels, where oneDNN is far from the machine's peak.
//
// In NHWC the kw * c inputs under one row of the kernel lie together. So a convolution is, per
// kernel row, a matrix product whose left rows overlap: pixel p starts p * stride * c further on.
// The inner kernels hold a tile of it in registers. Where they cannot take the zeros beside a row
// from elsewhere, borders are copied into a padded image first.
#pragma once

#include <algorithm>

#include "kernels/conv_bodies.h"

namespace halftone::kernels {

// Any shape without groups and dilation.
bool direct_conv_takes(const ConvGeometry& g);

// Null where the machine lacks the instruction set.
const ConvBodies* direct_conv_avx512();
const ConvBodies* direct_conv_avx2();

// Kernel row `tap` of output row `row` reads image row row * stride + tap - top; rows outside the
// image hold zeros and are skipped.
struct RowClip {
  int64_t stride, top, height;
};

// One correlation of a padded image with packed weights, stride included; a forward convolution is
// one of them, a data gradient of stride s is s * s (each on its own grid of pixels).
struct Correlation {
  const float* input;              // tap (0, 0) of output (0, 0)
  int64_t input_row, input_pixel;  // floats between vertically, horizontally adjacent outputs' taps
  int64_t tap_row;                 // floats between adjacent kernel rows
  int64_t taps, run;               // kernel rows, and floats under one of them (kw * c)
  int64_t columns;                 // kw, where input_pixel is c; else 0
  const float* zeros;              // columns / 2 pixels, read left and right of a row; may be null
  const float* weights;            // slabs of 2 * lanes channels: (taps, run, channels of the slab)
  const float* bias;               // (padded channels)
  float* output;
  int64_t output_row, output_pixel;
  int64_t rows, pixels, channels;  // of the output
  RowClip clip;
  bool adds;  // to what output holds, when a sum is complete
};

// The weight gradient of one image: sums (taps, run, padded channels) += x patches^T dy.
struct WeightProduct {
  const float* input;
  int64_t input_row, input_pixel, tap_row;
  int64_t taps, run;
  const float* dy;  // (rows, pixels, channels), dense
  int64_t rows, pixels, channels;
  RowClip clip;
  float* sums;
};

// The inner kernels of one instruction set.
struct DirectKernels {
  int lanes;        // channels are padded to a multiple of it
  int max_columns;  // that correlate knows; more are plain floats under a row
  void (*correlate)(const Correlation& job);
  void (*weight_product)(const WeightProduct& job);
};

// The data gradient as correlations, any shape that direct_conv_takes; `adds`: to what dx holds.
void correlate_data(const DirectKernels& kernels, const ConvGeometry& g, const Tensor& dy,
                    const Tensor& w, Tensor& dx, bool adds);

// The data gradient for few input channels, where the correlation's vectors would be half empty.
bool scatter_data_takes(const ConvGeometry& g);
void scatter_data(const DirectKernels& kernels, const ConvGeometry& g, const Tensor& dy,
                  const Tensor& w, Tensor& dx);

inline int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// Writes rows [begin, end) of the weights of a correlation, from[k - begin][o * next], into their
// slabs; `rows` is taps * run.
inline void pack_rows(float* packed, int64_t rows, int64_t channels, int lanes, int64_t begin,
                      int64_t end, const float* const* from, int64_t next) {
  for (int64_t first = 0; first < channels; first += 2 * lanes) {
    const int64_t width = std::min<int64_t>(2 * lanes, round_up(channels, lanes) - first);
    const int64_t count = std::min(width, channels - first);
    float* to = packed + first * rows;
    if (next == 1) {
      for (int64_t k = begin; k < end; ++k)
        std::copy_n(from[k - begin] + first, count, to + k * width);
      continue;
    }
    for (int64_t o = 0; o < count; ++o) {
      for (int64_t k = begin; k < end; ++k) to[k * width + o] = from[k - begin][(first + o) * next];
    }
  }
}

const DirectKernels& direct_kernels_avx512();
const DirectKernels& direct_kernels_avx2();

}  // namespace halftone::kernels
