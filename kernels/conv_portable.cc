// im2col and a matrix product, image by image.
#include <Eigen/Core>

#include "kernels/column_sums.h"
#include "kernels/conv_bodies.h"
#include "kernels/parallel.h"

namespace halftone::kernels {
namespace {

using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Stride = Eigen::OuterStride<>;
using Matrix = Eigen::Map<Rows, Eigen::Unaligned, Stride>;
using ConstMatrix = Eigen::Map<const Rows, Eigen::Unaligned, Stride>;

// Weight gradients are summed per chunk of images, then over chunks in order.
constexpr int64_t kMaxChunks = 16;

// Calls f(first of cg image values or null where padding, first of cg column values) per tap.
template <class T, class F>
void for_each_tap(const ConvGeometry& g, T* image, int64_t group, float* column, F f) {
  const Conv2dOptions& o = g.options;
  for (int64_t p = 0; p < g.pixels(); ++p) {
    for (int64_t k = 0; k < g.kh * g.kw; ++k, column += g.cg) {
      const int64_t ih = p / g.ow * o.stride_h - o.pad_h + k / g.kw * o.dilation_h;
      const int64_t iw = p % g.ow * o.stride_w - o.pad_w + k % g.kw * o.dilation_w;
      const bool inside = ih >= 0 && ih < g.h && iw >= 0 && iw < g.w;
      f(inside ? image + (ih * g.w + iw) * g.c + group * g.cg : nullptr, column);
    }
  }
}

// columns (pixels, taps) of one image and group.
void im2col(const ConvGeometry& g, const float* image, int64_t group, float* columns) {
  for_each_tap(g, image, group, columns, [&](const float* from, float* to) {
    if (from == nullptr) {
      std::fill_n(to, g.cg, 0.0f);
    } else {
      std::copy_n(from, g.cg, to);
    }
  });
}

void add_col2im(const ConvGeometry& g, float* columns, int64_t group, float* image) {
  for_each_tap(g, image, group, columns, [&](float* to, const float* from) {
    if (to == nullptr) return;
    for (int64_t c = 0; c < g.cg; ++c) to[c] += from[c];
  });
}

// One column buffer per thread; row omp_get_thread_num() is the caller's.
Tensor column_buffers(const ConvGeometry& g, const Context& context) {
  return Tensor::empty(context, {context.threads(), g.pixels() * g.taps()});
}

void forward(const ConvGeometry& g, const Tensor& x, const Tensor& w, const Tensor* bias,
             Tensor& y) {
  Tensor buffers = column_buffers(g, x.context());
  const float *xs = x.data<float>(), *ws = w.data<float>();
  const float* bs = bias == nullptr ? nullptr : bias->data<float>();
  float *columns = buffers.data<float>(), *ys = y.data<float>();
  const int64_t k = g.taps(), og = g.og();
  parallel_for(x.context(), g.n, 1, [&](int64_t begin, int64_t end) {
    float* mine = columns + omp_get_thread_num() * g.pixels() * k;
    for (int64_t i = begin * g.options.groups; i < end * g.options.groups; ++i) {
      const int64_t n = i / g.options.groups, group = i % g.options.groups;
      im2col(g, xs + n * g.h * g.w * g.c, group, mine);
      Matrix out(ys + n * g.pixels() * g.o + group * og, g.pixels(), og, Stride(g.o));
      out.noalias() = ConstMatrix(mine, g.pixels(), k, Stride(k)) *
                      ConstMatrix(ws + group * og * k, og, k, Stride(k)).transpose();
      if (bs != nullptr) out.rowwise() += Eigen::Map<const Eigen::RowVectorXf>(bs + group * og, og);
    }
  });
}

void backward_data(const ConvGeometry& g, const Tensor& dy, const Tensor& w, Tensor& dx) {
  Tensor buffers = column_buffers(g, dy.context());
  const float *gs = dy.data<float>(), *ws = w.data<float>();
  float *columns = buffers.data<float>(), *xs = dx.data<float>();
  const int64_t k = g.taps(), og = g.og();
  dx.fill(0.0f);
  parallel_for(dy.context(), g.n, 1, [&](int64_t begin, int64_t end) {
    float* mine = columns + omp_get_thread_num() * g.pixels() * k;
    for (int64_t i = begin * g.options.groups; i < end * g.options.groups; ++i) {
      const int64_t n = i / g.options.groups, group = i % g.options.groups;
      Matrix(mine, g.pixels(), k, Stride(k)).noalias() =
          ConstMatrix(gs + n * g.pixels() * g.o + group * og, g.pixels(), og, Stride(g.o)) *
          ConstMatrix(ws + group * og * k, og, k, Stride(k));
      add_col2im(g, mine, group, xs + n * g.h * g.w * g.c);
    }
  });
}

// sums (o, taps) = gradient of images [first, last).
void weight_chunk(const ConvGeometry& g, const float* xs, const float* gs, int64_t first,
                  int64_t last, float* columns, float* sums) {
  const int64_t k = g.taps(), og = g.og();
  std::fill_n(sums, g.o * k, 0.0f);
  for (int64_t n = first; n < last; ++n) {
    for (int64_t group = 0; group < g.options.groups; ++group) {
      im2col(g, xs + n * g.h * g.w * g.c, group, columns);
      Matrix(sums + group * og * k, og, k, Stride(k)).noalias() +=
          ConstMatrix(gs + n * g.pixels() * g.o + group * og, g.pixels(), og, Stride(g.o))
              .transpose() *
          ConstMatrix(columns, g.pixels(), k, Stride(k));
    }
  }
}

void backward_weight(const ConvGeometry& g, const Tensor& x, const Tensor& dy, Tensor& dw,
                     Tensor* dbias) {
  const Context& context = x.context();
  const int64_t chunks = std::min(kMaxChunks, g.n), size = dw.numel();
  Tensor buffers = column_buffers(g, context);
  Tensor partial = Tensor::empty(context, {chunks, size});
  const float *xs = x.data<float>(), *gs = dy.data<float>();
  float *columns = buffers.data<float>(), *sums = partial.data<float>();
  parallel_for(context, chunks, 1, [&](int64_t begin, int64_t end) {
    float* mine = columns + omp_get_thread_num() * g.pixels() * g.taps();
    for (int64_t i = begin; i < end; ++i) {
      weight_chunk(g, xs, gs, g.n * i / chunks, g.n * (i + 1) / chunks, mine, sums + i * size);
    }
  });
  column_sums(partial, dw);
  if (dbias != nullptr) column_sums(dy, *dbias);
}

}  // namespace

const ConvBodies& portable_conv() {
  static const ConvBodies bodies{forward, backward_data, backward_weight};
  return bodies;
}

}  // namespace halftone::kernels
