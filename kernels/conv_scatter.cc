// The data gradient for few input channels and stride 1. Every output pixel's products with all
// taps are one row of a dense matrix product, (kh, kw, c) wide, so that the vectors are full; an
// input pixel then is the sum of kh * kw pieces of c floats. The products of the last kh output
// rows are kept in a ring that stays in the first-level cache.
#include <immintrin.h>

#include "kernels/conv_direct.h"
#include "kernels/parallel.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kLanes = 8;

// kh slots of products of one output row, each between kw - 1 pixels of zeros.
struct Ring {
  float* data;
  int64_t pixel, margin, slot, slots;

  static int64_t floats(const ConvGeometry& g) {
    return g.kh * (g.ow + 2 * (g.kw - 1)) * g.taps() + kLanes;  // a load may pass the last piece
  }
  Ring(const ConvGeometry& g, float* memory)
      : data(memory),
        pixel(g.taps()),
        margin((g.kw - 1) * pixel),
        slot(g.ow * pixel + 2 * margin),
        slots(g.kh) {}
  // Products of output pixel 0.
  float* row(int64_t oh) const { return data + oh % slots * slot + margin; }
};

// Input row ih from the output rows in the ring.
void gather_row(const ConvGeometry& g, const Ring& ring, int64_t ih, float* to) {
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(g.c)),
                                          _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  const int64_t pad_h = g.options.pad_h, step = g.c - ring.pixel;  // column kw + 1, pixel before
  const int64_t first = std::max<int64_t>(0, ih + pad_h - g.oh + 1);
  const int64_t last = std::min(g.kh - 1, ih + pad_h);
  for (int64_t iw = 0; iw < g.w; ++iw, to += g.c) {
    __m256 sum = _mm256_setzero_ps();
    for (int64_t kh = first; kh <= last; ++kh) {
      const float* from =
          ring.row(ih + pad_h - kh) + (iw + g.options.pad_w) * ring.pixel + kh * g.kw * g.c;
      for (int64_t kw = 0; kw < g.kw; ++kw, from += step) {
        sum = _mm256_add_ps(sum, _mm256_loadu_ps(from));
      }
    }
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
  const int64_t padded = round_up(g.taps(), kernels.lanes), size = Ring::floats(g);
  Tensor packed = Tensor::zeros(dy.context(), {g.o, padded});
  Tensor bias = Tensor::zeros(dy.context(), {padded});
  Tensor rings = Tensor::zeros(dy.context(), {dy.context().threads(), size});
  const float* ws = w.data<float>();
  pack_rows(packed.data<float>(), g.o, g.taps(), kernels.lanes, 0, g.o,
            [&](int64_t o, int64_t k) { return ws[o * g.taps() + k]; });
  Correlation product{};  // of one output row
  product.input_pixel = g.o;
  product.taps = product.rows = 1;
  product.run = g.o;
  product.weights = packed.data<float>();
  product.bias = bias.data<float>();
  product.output_pixel = product.channels = g.taps();
  product.pixels = g.ow;
  product.clip = {1, 0, 1};
  const float* gs = dy.data<float>();
  float *xs = dx.data<float>(), *memory = rings.data<float>();
  parallel_for(dy.context(), g.n, 1, [&](int64_t begin, int64_t end) {
    Correlation job = product;
    const Ring ring(g, memory + omp_get_thread_num() * size);
    for (int64_t n = begin; n < end; ++n) {
      int64_t done = 0;  // output rows in the ring or behind it
      for (int64_t ih = 0; ih < g.h; ++ih) {
        for (; done < std::min(g.oh, ih + g.options.pad_h + 1); ++done) {
          job.input = gs + (n * g.oh + done) * g.ow * g.o;
          job.output = ring.row(done);
          kernels.correlate(job);
        }
        gather_row(g, ring, ih, xs + (n * g.h + ih) * g.w * g.c);
      }
    }
  });
}

}  // namespace halftone::kernels
