// Packing, padding and the split over threads; the inner kernels are in conv_direct_tiles.h.
#include "kernels/conv_direct.h"

#include "kernels/column_sums.h"
#include "kernels/parallel.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kMaxChunks = 16;  // of images, in the weight gradient

// A border around an image of h x w pixels of c floats.
struct Frame {
  int64_t h, w, c, top, left, height, width;

  bool is_image() const { return top == 0 && left == 0 && height == h && width == w; }
  int64_t floats() const { return height * width * c; }
};

// Copies of images within zeros, or the images themselves where the frame adds nothing. The border
// is written once: every image of a batch has the same.
class Framed {
 public:
  Framed(const Frame& frame, float* buffer) : f_(frame), buffer_(buffer) {
    if (!f_.is_image()) std::fill_n(buffer, f_.floats(), 0.0f);
  }

  const float* operator()(const float* image) const {
    if (f_.is_image()) return image;
    const int64_t rows = std::min(f_.h, f_.height - f_.top);
    const int64_t floats = std::min(f_.w, f_.width - f_.left) * f_.c;
    float* to = buffer_ + (f_.top * f_.width + f_.left) * f_.c;
    for (int64_t y = 0; y < rows; ++y, to += f_.width * f_.c) {
      const float* from = image + y * f_.w * f_.c;
#pragma omp simd
      for (int64_t i = 0; i < floats; ++i) to[i] = from[i];
    }
    return buffer_;
  }

 private:
  Frame f_;
  float* buffer_;
};

Frame input_frame(const ConvGeometry& g) {
  const Conv2dOptions& o = g.options;
  const int64_t height = (g.oh - 1) * o.stride_h + g.kh, width = (g.ow - 1) * o.stride_w + g.kw;
  if (o.pad_h == 0 && o.pad_w == 0) return {g.h, g.w, g.c, 0, 0, g.h, g.w};
  return {g.h,
          g.w,
          g.c,
          o.pad_h,
          o.pad_w,
          std::max(height, o.pad_h + g.h),
          std::max(width, o.pad_w + g.w)};
}

// Weights of a correlation as its tiles want them. With few output channels, `group` adjacent
// output pixels count as one with group * channels outputs: its window is wider and partly zero,
// but the vectors are fuller.
struct Packing {
  int64_t rows, columns, inputs, outputs;  // of the kernel
  int64_t stride = 1, group = 1;

  int64_t wide() const { return columns == 0 ? 0 : columns + (group - 1) * stride; }
  int64_t run() const { return wide() * inputs; }
  int64_t channels() const { return group * outputs; }
  // Useful part of the multiplications.
  double efficiency(int lanes) const {
    return static_cast<double>(channels()) / round_up(channels(), lanes) * columns / wide();
  }
};

void choose_group(Packing& p, int64_t pixels, int lanes) {
  Packing best = p;
  for (p.group = 2; p.group * p.outputs <= lanes && p.columns > 0; ++p.group) {
    if (pixels % p.group == 0 && p.efficiency(lanes) > best.efficiency(lanes)) best = p;
  }
  p = best;
}

// Weights of a correlation from value(row, column, input, output), in blocks of rows so that
// neither side of the transposition strides through memory.
template <class Value>
void pack(const Context& context, const Packing& p, int lanes, float* packed, Value value) {
  constexpr int64_t kBlock = 16;
  const int64_t padded = round_up(p.channels(), lanes), under = p.columns * p.inputs;
  const int64_t count = p.rows * under, rows = p.rows * p.run();
  if (p.channels() < padded || p.group > 1) std::fill_n(packed, rows * padded, 0.0f);
  if (p.group > 1) {  // one slab of one vector
    for (int64_t i = 0; i < count * p.channels(); ++i) {
      const int64_t k = i / p.channels(), u = i / p.outputs % p.group, o = i % p.outputs;
      const int64_t at = k / under * p.run() + k % under + u * p.stride * p.inputs;
      packed[at * lanes + u * p.outputs + o] =
          value(k / under, k % under / p.inputs, k % p.inputs, o);
    }
    return;
  }
  parallel_for(
      context, (count + kBlock - 1) / kBlock, 1 + 1024 / padded, [&](int64_t begin, int64_t end) {
        for (int64_t block = begin; block < end; ++block) {
          const int64_t first = block * kBlock, last = std::min(count, first + kBlock);
          pack_rows(packed, rows, p.channels(), lanes, first, last, [&](int64_t k, int64_t o) {
            return value(k / under, k % under / p.inputs, k % p.inputs, o);
          });
        }
      });
}

Tensor padded_bias(const Context& context, const Tensor* bias, const Packing& p, int lanes) {
  Tensor out = Tensor::zeros(context, {round_up(p.channels(), lanes)});
  for (int64_t i = 0; bias != nullptr && i < p.channels(); ++i) {
    out.data<float>()[i] = bias->data<float>()[i % p.outputs];
  }
  return out;
}

Tensor frames(const Context& context, const Frame& f) {
  return Tensor::empty(context, {context.threads(), f.is_image() ? 0 : f.floats()});
}

void forward(const DirectKernels& kernels, const ConvGeometry& g, const Tensor& x, const Tensor& w,
             const Tensor* bias, Tensor& y) {
  const Conv2dOptions& o = g.options;
  Packing p{g.kh, g.kw, g.c, g.o, o.stride_w};
  choose_group(p, g.ow, kernels.lanes);
  const int64_t padded = round_up(p.channels(), kernels.lanes);
  Tensor packed = Tensor::empty(x.context(), {p.rows * p.run() * padded});
  const float* ws = w.data<float>();
  pack(x.context(), p, kernels.lanes, packed.data<float>(),
       [&](int64_t r, int64_t c, int64_t i, int64_t out) {
         return ws[((out * g.kh + r) * g.kw + c) * g.c + i];
       });
  Tensor biases = padded_bias(x.context(), bias, p, kernels.lanes);
  const Frame frame = input_frame(g);
  Tensor buffers = frames(x.context(), frame);
  const int64_t row = frame.width * g.c;
  Correlation shared{};
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
      job.input = framed(xs + n * g.h * g.w * g.c);
      job.output = ys + n * g.pixels() * g.o;
      kernels.correlate(job);
    }
  });
}

// Along one axis, the inputs i * stride + phase get their gradient from the outputs
// i + first .. i + first + taps - 1, by the kernel's entries last, last - stride, ...
struct Phase {
  int64_t count, taps, first, last;

  static Phase of(int64_t phase, int64_t extent, int64_t kernel, int stride, int pad) {
    const int64_t smallest = (phase + pad) % stride, offset = (phase + pad) / stride;
    const int64_t taps = smallest >= kernel ? 0 : (kernel - 1 - smallest) / stride + 1;
    const int64_t count = phase >= extent ? 0 : (extent - 1 - phase) / stride + 1;
    return {count, taps, offset - taps + 1, smallest + (taps - 1) * stride};
  }
};

// Zeros before the outputs and the extent with zeros, so that every phase stays inside.
struct Margin {
  int64_t before = 0, extent = 0;

  static Margin of(int64_t outputs, int64_t extent, int64_t kernel, int stride, int pad) {
    Margin m{0, outputs};
    for (int64_t i = 0; i < stride; ++i) {
      m.before = std::max(m.before, -Phase::of(i, extent, kernel, stride, pad).first);
    }
    m.extent += m.before;
    for (int64_t i = 0; i < stride; ++i) {
      const Phase p = Phase::of(i, extent, kernel, stride, pad);
      m.extent = std::max(m.extent, m.before + p.first + p.count - 1 + p.taps);
    }
    return m;
  }
};

// The correlation of phase (v, h) and its packed weights.
Correlation phase_job(const Context& context, const ConvGeometry& g, const Frame& frame,
                      const Phase& v, const Phase& h, const Packing& p, int lanes, const float* ws,
                      float* packed) {
  const Conv2dOptions& o = g.options;
  pack(context, p, lanes, packed, [&](int64_t r, int64_t c, int64_t out, int64_t in) {
    const int64_t kh = v.last - r * o.stride_h, kw = h.last - c * o.stride_w;
    return ws[((out * g.kh + kh) * g.kw + kw) * g.c + in];
  });
  Correlation job{};
  job.tap_row = job.input_row = frame.width * g.o;
  job.input_pixel = p.group * g.o;
  job.taps = p.run() == 0 ? 0 : p.rows;
  job.run = p.run();
  job.columns = p.group == 1 ? p.columns : 0;
  job.weights = packed;
  job.output_row = o.stride_h * g.w * g.c;
  job.output_pixel = o.stride_w * p.channels();
  job.rows = v.count;
  job.pixels = h.count / p.group;
  job.channels = p.channels();
  job.clip = {1, -v.first, g.oh};
  return job;
}

void backward_data(const DirectKernels& kernels, const ConvGeometry& g, const Tensor& dy,
                   const Tensor& w, Tensor& dx) {
  const Conv2dOptions& o = g.options;
  const Margin mv = Margin::of(g.oh, g.h, g.kh, o.stride_h, o.pad_h);
  const Margin mh = Margin::of(g.ow, g.w, g.kw, o.stride_w, o.pad_w);
  const Frame frame{g.oh, g.ow, g.o, mv.before, mh.before, mv.extent, mh.extent};
  Tensor buffers = frames(dy.context(), frame);
  float *xs = dx.data<float>(), *buffer = buffers.data<float>();
  const float *gs = dy.data<float>(), *ws = w.data<float>();
  for (int64_t i = 0; i < o.stride_h * o.stride_w; ++i) {
    const int64_t iv = i / o.stride_w, ih = i % o.stride_w;
    const Phase v = Phase::of(iv, g.h, g.kh, o.stride_h, o.pad_h);
    const Phase h = Phase::of(ih, g.w, g.kw, o.stride_w, o.pad_w);
    Packing p{v.taps, h.taps, g.o, g.c};
    if (o.stride_w == 1) choose_group(p, h.count, kernels.lanes);
    Tensor packed =
        Tensor::empty(dy.context(), {p.rows * p.run() * round_up(p.channels(), kernels.lanes)});
    Tensor bias = padded_bias(dy.context(), nullptr, p, kernels.lanes);
    Correlation shared =
        phase_job(dy.context(), g, frame, v, h, p, kernels.lanes, ws, packed.data<float>());
    shared.bias = bias.data<float>();
    const int64_t start = ((mv.before + v.first) * frame.width + mh.before + h.first) * g.o;
    parallel_for(dy.context(), g.n, 1, [&](int64_t begin, int64_t end) {
      Correlation job = shared;
      const Framed framed(frame, buffer + omp_get_thread_num() * frame.floats());
      for (int64_t n = begin; n < end; ++n) {
        job.input = framed(gs + n * g.pixels() * g.o) + start;
        job.output = xs + ((n * g.h + iv) * g.w + ih) * g.c;
        kernels.correlate(job);
      }
    });
  }
}

// Adds the chunks of sums (chunks, size) into the first, in order.
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

// dw (o, rows, columns, inputs) = sums (rows, run, padded channels), over the pixels of a group.
void gather_weight(const Packing& p, const float* sums, int64_t padded, Tensor& dw) {
  const int64_t under = p.columns * p.inputs, taps = p.rows * under;
  const int64_t next = p.stride * p.inputs * padded + p.outputs;  // pixel of the group
  float* to = dw.data<float>();
  parallel_for(dw.context(), p.outputs, 1 + 16384 / taps, [&](int64_t begin, int64_t end) {
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

void backward_weight(const DirectKernels& kernels, const ConvGeometry& g, const Tensor& x,
                     const Tensor& dy, Tensor& dw, Tensor* dbias) {
  const Conv2dOptions& o = g.options;
  Packing p{g.kh, g.kw, g.c, g.o, o.stride_w};
  choose_group(p, g.ow, kernels.lanes);
  const int64_t padded = round_up(p.channels(), kernels.lanes), chunks = std::min(kMaxChunks, g.n);
  const int64_t size = p.rows * p.run() * padded;
  const Frame frame = input_frame(g);
  Tensor buffers = frames(x.context(), frame);
  Tensor sums = Tensor::empty(x.context(), {chunks, size});
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
      }
    }
  });
  add_chunks(sums);
  gather_weight(p, total, padded, dw);
  if (dbias != nullptr) column_sums(dy, *dbias);
}

template <const DirectKernels& (*kKernels)()>
const ConvBodies& bodies_of() {
  static const ConvBodies bodies{
      [](const ConvGeometry& g, const Tensor& x, const Tensor& w, const Tensor* bias, Tensor& y) {
        forward(kKernels(), g, x, w, bias, y);
      },
      [](const ConvGeometry& g, const Tensor& dy, const Tensor& w, Tensor& dx) {
        (scatter_data_takes(g) ? scatter_data : backward_data)(kKernels(), g, dy, w, dx);
      },
      [](const ConvGeometry& g, const Tensor& x, const Tensor& dy, Tensor& dw, Tensor* dbias) {
        backward_weight(kKernels(), g, x, dy, dw, dbias);
      }};
  return bodies;
}

}  // namespace

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
