// The data gradient for few input channels and stride 1. Per input row, the products of the output
// pixels with (kw, c) are one correlation with kw * c output channels and one kernel column, so
// that the vectors are full; an input pixel then is the sum of kw pieces of c floats of that row.
#include <immintrin.h>

#include "kernels/conv_direct_operands.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kLanes = 8;

// The products of one row, (pixels, kw, c), between kw - 1 pixels of zeros on either side.
struct ProductRow {
  int64_t pixel, margin, floats;

  explicit ProductRow(const ConvGeometry& g)
      : pixel(g.kw * g.c),
        margin((g.kw - 1) * pixel),
        floats(g.ow * pixel + 2 * margin + kLanes) {}  // a load may pass the last piece
};

// Input row from the products, whose pixel 0 is at `products`.
void gather_row(const ConvGeometry& g, const ProductRow& row, const float* products, float* to) {
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(g.c)),
                                          _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  const int64_t step = g.c - row.pixel;  // to the next column of the pixel before
  for (int64_t iw = 0; iw < g.w; ++iw, to += g.c) {
    const float* from = products + (iw + g.options.pad_w) * row.pixel;
    __m256 sum = _mm256_loadu_ps(from);
    for (int64_t kw = 1; kw < g.kw; ++kw)
      sum = _mm256_add_ps(sum, _mm256_loadu_ps(from + kw * step));
    _mm256_maskstore_ps(to, mask, sum);
  }
}

}  // namespace

bool scatter_data_takes(const ConvGeometry& g) {
  const Conv2dOptions& o = g.options;
  return o.stride_h == 1 && o.stride_w == 1 && o.pad_h < g.kh && o.pad_w < g.kw && g.c <= kLanes;
}

void scatter_data(const DirectKernels& kernels, const ConvGeometry& g, const Tensor& dy,
                  const Tensor& w, Tensor& dx) {
  const ProductRow row(g);
  const Packing p{g.kh, 1, g.o, row.pixel};
  const int64_t padded = round_up(row.pixel, kernels.lanes);
  Tensor packed = Tensor::empty(dy.context(), {g.kh * g.o * padded});
  Tensor bias = padded_bias(dy.context(), nullptr, p, kernels.lanes);
  Tensor rows = Tensor::zeros(dy.context(), {dy.context().threads(), row.floats});
  const float* gs = dy.data<float>();
  const WeightSource source{w.data<float>(), 1, [&](int64_t r, int64_t, int64_t o) {
                              return (o * g.kh + g.kh - 1 - r) * row.pixel;
                            }};
  pack(dy.context(), p, kernels.lanes, packed.data<float>(), source);
  Correlation shared{};  // one row: kernel row r reads output row ih + r - top
  shared.input_pixel = g.o;
  shared.tap_row = g.ow * g.o;
  shared.taps = g.kh;
  shared.run = g.o;
  shared.weights = packed.data<float>();
  shared.bias = bias.data<float>();
  shared.output_pixel = shared.channels = row.pixel;
  shared.rows = 1;
  shared.pixels = g.ow;
  const int64_t top = g.kh - 1 - g.options.pad_h;
  float *xs = dx.data<float>(), *memory = rows.data<float>();
  parallel_for(dy.context(), g.n, 1, [&](int64_t begin, int64_t end) {
    Correlation job = shared;
    job.output = memory + omp_get_thread_num() * row.floats + row.margin;
    for (int64_t i = begin * g.h; i < end * g.h; ++i) {
      const int64_t n = i / g.h, ih = i % g.h;
      job.clip = {1, top - ih, g.oh};
      job.input = gs + (n * g.oh + ih - top) * shared.tap_row;
      kernels.correlate(job);
      gather_row(g, row, job.output, xs + i * g.w * g.c);
    }
  });
}

}  // namespace halftone::kernels
