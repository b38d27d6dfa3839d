// The data gradient by correlations: one per phase of the stride.
#include "kernels/conv_direct_operands.h"

namespace halftone::kernels {
namespace {

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
  const WeightSource source{ws, 1, [&](int64_t r, int64_t c, int64_t out) {
                              const int64_t kh = v.last - r * o.stride_h;
                              return ((out * g.kh + kh) * g.kw + h.last - c * o.stride_w) * g.c;
                            }};
  pack(context, p, lanes, packed, source);
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

}  // namespace

void correlate_data(const DirectKernels& kernels, const ConvGeometry& g, const Tensor& dy,
                    const Tensor& w, Tensor& dx, bool adds) {
  const Conv2dOptions& o = g.options;
  const Margin mv = Margin::of(g.oh, g.h, g.kh, o.stride_h, o.pad_h);
  const Margin mh = Margin::of(g.ow, g.w, g.kw, o.stride_w, o.pad_w);
  Packing whole{g.kh, g.kw, g.o, g.c, o.stride_w};
  choose_group(whole, g.w, kernels.lanes);
  const bool bare = needs_no_frame(kernels, whole, mh.before);
  const Frame frame = bare ? bare_frame(g.oh, g.ow, g.o)
                           : Frame{g.oh, g.ow, g.o, mv.before, mh.before, mv.extent, mh.extent};
  Tensor zeros = Tensor::zeros(dy.context(), {g.kw * g.o});
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
    shared.adds = adds;
    shared.zeros = bare ? zeros.data<float>() : nullptr;
    const int64_t start = ((frame.top + v.first) * frame.width + frame.left + h.first) * g.o;
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

}  // namespace halftone::kernels
