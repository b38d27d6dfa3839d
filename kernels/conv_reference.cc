// The oracle: the definition, in plain loops with double accumulators.
#include "kernels/conv_geometry.h"

namespace halftone::kernels::reference {
namespace {

// Calls f(x index, w index, y index) for every product of the convolution, outputs outermost.
template <class F>
void for_each_product(const ConvGeometry& g, F f) {
  const Conv2dOptions& o = g.options;
  for (int64_t y = 0; y < g.n * g.oh * g.ow * g.o; ++y) {
    const int64_t oc = y % g.o, ow = y / g.o % g.ow, oh = y / g.o / g.ow % g.oh;
    const int64_t n = y / g.o / g.ow / g.oh, first = oc / g.og() * g.cg;
    for (int64_t k = 0; k < g.taps(); ++k) {
      const int64_t c = k % g.cg, kw = k / g.cg % g.kw, kh = k / g.cg / g.kw;
      const int64_t ih = oh * o.stride_h - o.pad_h + kh * o.dilation_h;
      const int64_t iw = ow * o.stride_w - o.pad_w + kw * o.dilation_w;
      if (ih < 0 || ih >= g.h || iw < 0 || iw >= g.w) continue;
      f(((n * g.h + ih) * g.w + iw) * g.c + first + c, oc * g.taps() + k, y);
    }
  }
}

void store(const std::vector<double>& sums, Tensor& out) {
  std::copy(sums.begin(), sums.end(), out.data<float>());
}

}  // namespace

void conv2d(const Tensor& x, const Tensor& w, const Tensor* bias, const Conv2dOptions& options,
            Tensor& y) {
  const ConvGeometry g = conv_geometry("conv2d", x.shape(), w.shape(), options);
  const float *xs = x.data<float>(), *ws = w.data<float>();
  std::vector<double> sums(y.numel(), 0.0);
  for_each_product(g, [&](int64_t xi, int64_t wi, int64_t yi) {
    sums[yi] += static_cast<double>(xs[xi]) * ws[wi];
  });
  if (bias != nullptr) {
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += bias->data<float>()[i % g.o];
  }
  store(sums, y);
}

void conv2d_backward_data(const Tensor& dy, const Tensor& w, const Conv2dOptions& options,
                          Tensor& dx) {
  const ConvGeometry g = conv_geometry("conv2d", dx.shape(), w.shape(), options);
  const float *gs = dy.data<float>(), *ws = w.data<float>();
  std::vector<double> sums(dx.numel(), 0.0);
  for_each_product(g, [&](int64_t xi, int64_t wi, int64_t yi) {
    sums[xi] += static_cast<double>(gs[yi]) * ws[wi];
  });
  store(sums, dx);
}

void conv2d_backward_weight(const Tensor& x, const Tensor& dy, const Conv2dOptions& options,
                            Tensor& dw, Tensor* dbias) {
  const ConvGeometry g = conv_geometry("conv2d", x.shape(), dw.shape(), options);
  const float *xs = x.data<float>(), *gs = dy.data<float>();
  std::vector<double> sums(dw.numel(), 0.0), bias_sums(g.o, 0.0);
  for_each_product(g, [&](int64_t xi, int64_t wi, int64_t yi) {
    sums[wi] += static_cast<double>(xs[xi]) * gs[yi];
  });
  store(sums, dw);
  if (dbias == nullptr) return;
  for (int64_t i = 0; i < dy.numel(); ++i) bias_sums[i % g.o] += gs[i];
  store(bias_sums, *dbias);
}

}  // namespace halftone::kernels::reference
