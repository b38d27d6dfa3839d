// Forward and weight gradient: the split over threads; the inner kernels are in
// conv_direct_tiles.h.
#include "kernels/conv_direct_operands.h"

#include "kernels/column_sums.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kMaxChunks = 16;  // of images, in the weight gradient

void forward(const DirectKernels& kernels, const ConvGeometry& g, const Tensor& x, const Tensor& w,
             const Tensor* bias, Tensor& y) {
  const Conv2dOptions& o = g.options;
  Packing p{g.kh, g.kw, g.c, g.o, o.stride_w};
  choose_group(p, g.ow, kernels.lanes);
  const int64_t padded = round_up(p.channels(), kernels.lanes);
  Tensor packed = Tensor::empty(x.context(), {p.rows * p.run() * padded});
  const WeightSource source{w.data<float>(), g.taps(), [&](int64_t r, int64_t c, int64_t i) {
                              return (r * g.kw + c) * g.c + i;
                            }};
  pack(x.context(), p, kernels.lanes, packed.data<float>(), source);
  Tensor biases = padded_bias(x.context(), bias, p, kernels.lanes);
  const bool bare = needs_no_frame(kernels, p, o.pad_w);
  const Frame frame = bare ? bare_frame(g.h, g.w, g.c) : input_frame(g);
  Tensor buffers = frames(x.context(), frame);
  Tensor zeros = Tensor::zeros(x.context(), {g.kw * g.c});
  const int64_t row = frame.width * g.c;
  const int64_t start = bare ? -(o.pad_h * row + o.pad_w * g.c) : 0;
  Correlation shared{};
  shared.zeros = bare ? zeros.data<float>() : nullptr;
  shared.input_row = o.stride_h * row;
  shared.input_pixel = p.group * o.stride_w * g.c;
  shared.tap_row = row;
  shared.taps = p.rows;
  shared.run = p.run();
  shared.columns = p.stride == 1 && p.group == 1 ? p.columns : 0;
  shared.weights = packed.data<float>();
  shared.bias = biases.data<float>();
  shared.output_row = g.ow * g.o;
  shared.output_pixel = shared.channels = p.channels();
  shared.rows = g.oh;
  shared.pixels = g.ow / p.group;
  shared.clip = {o.stride_h, o.pad_h, g.h};
  const float* xs = x.data<float>();
  float *ys = y.data<float>(), *buffer = buffers.data<float>();
  parallel_for(x.context(), g.n, 1, [&](int64_t begin, int64_t end) {
    Correlation job = shared;
    const Framed framed(frame, buffer + omp_get_thread_num() * frame.floats());
    for (int64_t n = begin; n < end; ++n) {
      job.input = framed(xs + n * g.h * g.w * g.c) + start;
      job.output = ys + n * g.pixels() * g.o;
      kernels.correlate(job);
    }
  });
}

void backward_weight(const DirectKernels& kernels, const ConvGeometry& g, const Tensor& x,
                     const Tensor& dy, Tensor& dw, Tensor* dbias) {
  const Conv2dOptions& o = g.options;
  Packing p{g.kh, g.kw, g.c, g.o, o.stride_w};
  choose_group(p, g.ow, kernels.lanes);
  const int64_t padded = round_up(p.channels(), kernels.lanes), chunks = std::min(kMaxChunks, g.n);
  const int64_t products = p.rows * p.run() * padded,
                size = products + (dbias != nullptr ? padded : 0);
  const Frame frame = input_frame(g);
  Tensor buffers = frames(x.context(), frame);
  Tensor sums = Tensor::empty(x.context(), {chunks, size});  // each: dw, then dbias
  const int64_t row = frame.width * g.c;
  WeightProduct shared{};
  shared.input_row = o.stride_h * row;
  shared.input_pixel = p.group * o.stride_w * g.c;
  shared.tap_row = row;
  shared.taps = p.rows;
  shared.run = p.run();
  shared.rows = g.oh;
  shared.pixels = g.ow / p.group;
  shared.channels = p.channels();
  shared.clip = {o.stride_h, o.pad_h, g.h};
  const float *xs = x.data<float>(), *gs = dy.data<float>();
  float *total = sums.data<float>(), *buffer = buffers.data<float>();
  parallel_for(x.context(), chunks, 1, [&](int64_t begin, int64_t end) {
    WeightProduct job = shared;
    const Framed framed(frame, buffer + omp_get_thread_num() * frame.floats());
    for (int64_t i = begin; i < end; ++i) {
      job.sums = std::fill_n(total + i * size, size, 0.0f) - size;
      for (int64_t n = g.n * i / chunks; n < g.n * (i + 1) / chunks; ++n) {
        job.input = framed(xs + n * g.h * g.w * g.c);
        job.dy = gs + n * g.pixels() * g.o;
        kernels.weight_product(job);
        if (dbias != nullptr) add_column_sums(job.dy, g.pixels(), g.o, job.sums + products);
      }
    }
  });
  add_chunks(sums);
  gather_weight(p, total, padded, dw);
  if (dbias != nullptr) std::copy_n(total + products, g.o, dbias->data<float>());
}

template <const DirectKernels& (*kKernels)()>
const ConvBodies& bodies_of() {
  static const ConvBodies bodies{
      [](const ConvGeometry& g, const Tensor& x, const Tensor& w, const Tensor* bias, Tensor& y) {
        forward(kKernels(), g, x, w, bias, y);
      },
      [](const ConvGeometry& g, const Tensor& dy, const Tensor& w, Tensor& dx) {
        if (scatter_data_takes(g)) {
          scatter_data(kKernels(), g, dy, w, dx);
        } else {
          correlate_data(kKernels(), g, dy, w, dx, false);
        }
      },
      [](const ConvGeometry& g, const Tensor& x, const Tensor& dy, Tensor& dw, Tensor* dbias) {
        backward_weight(kKernels(), g, x, dy, dw, dbias);
      },
      [](const ConvGeometry& g, const Tensor& dy, const Tensor& w, Tensor& dx) {
        correlate_data(kKernels(), g, dy, w, dx, true);
      }};
  return bodies;
}

}  // namespace

void add_chunks(Tensor& sums) {
  const int64_t chunks = sums.dim(0), size = sums.dim(1);
  float* first = sums.data<float>();
  parallel_for(sums.context(), size, 1 + 65536 / chunks, [=](int64_t begin, int64_t end) {
    for (int64_t i = 1; i < chunks; ++i) {
      const float* chunk = first + i * size;
#pragma omp simd
      for (int64_t k = begin; k < end; ++k) first[k] += chunk[k];
    }
  });
}

void gather_weight(const Packing& p, const float* sums, int64_t padded, Tensor& dw) {
  const int64_t under = p.columns * p.inputs, taps = p.rows * under;
  const int64_t next = p.stride * p.inputs * padded + p.outputs;  // pixel of the group
  float* to = dw.data<float>();
  parallel_for(dw.context(), p.outputs, 1 + 16384 / std::max<int64_t>(1, taps),
               [&](int64_t begin, int64_t end) {
                 for (int64_t k = 0; k < taps; ++k) {
                   const float* from = sums + (k / under * p.run() + k % under) * padded;
                   for (int64_t o = begin; o < end; ++o) {
                     float total = from[o];
                     for (int64_t u = 1; u < p.group; ++u) total += from[u * next + o];
                     to[o * taps + k] = total;
                   }
                 }
               });
}

bool direct_conv_takes(const ConvGeometry& g) {
  return g.options.groups == 1 && g.options.dilation_h == 1 && g.options.dilation_w == 1;
}

const ConvBodies* direct_conv_avx512() {
  const bool there = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                     __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  return there ? &bodies_of<direct_kernels_avx512>() : nullptr;
}

const ConvBodies* direct_conv_avx2() {
  const bool there = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return there ? &bodies_of<direct_kernels_avx2>() : nullptr;
}

}  // namespace halftone::kernels
