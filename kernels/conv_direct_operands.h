// Operands of the direct kernels: images in borders of zeros, and packed weights.
#pragma once

#include "kernels/conv_direct.h"
#include "kernels/parallel.h"

namespace halftone::kernels {

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

inline Frame bare_frame(int64_t h, int64_t w, int64_t c) { return {h, w, c, 0, 0, h, w}; }

inline Frame input_frame(const ConvGeometry& g) {
  const Conv2dOptions& o = g.options;
  const int64_t height = (g.oh - 1) * o.stride_h + g.kh, width = (g.ow - 1) * o.stride_w + g.kw;
  if (o.pad_h == 0 && o.pad_w == 0) return bare_frame(g.h, g.w, g.c);
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

// Whether a correlation of rows as long as its output's can do without a frame: it then takes the
// columns / 2 pixels beside a row from Correlation::zeros. `before`: zeros left of a row.
inline bool needs_no_frame(const DirectKernels& kernels, const Packing& p, int64_t before) {
  return p.stride == 1 && p.group == 1 && p.columns >= 3 && p.columns <= kernels.max_columns &&
         p.columns == 2 * before + 1;
}

inline void choose_group(Packing& p, int64_t pixels, int lanes) {
  Packing best = p;
  for (p.group = 2; p.group * p.outputs <= lanes && p.columns > 0; ++p.group) {
    if (pixels % p.group == 0 && p.efficiency(lanes) > best.efficiency(lanes)) best = p;
  }
  p = best;
}

// Where the packed weights come from: the weight of output o is from[offset + o * next_output],
// offset as a function of (row, column, input).
template <class Offset>
struct WeightSource {
  const float* from;
  int64_t next_output;
  Offset offset;
};
template <class Offset>
WeightSource(const float*, int64_t, Offset) -> WeightSource<Offset>;

// The weights of a correlation, in blocks of rows so that neither side of a transposition strides
// through memory.
template <class Offset>
void pack(const Context& context, const Packing& p, int lanes, float* packed,
          const WeightSource<Offset>& source) {
  constexpr int64_t kBlock = 16;
  const int64_t padded = round_up(p.channels(), lanes), under = p.columns * p.inputs;
  const int64_t count = p.rows * under, rows = p.rows * p.run();
  const auto offset = [&](int64_t k) {
    return source.offset(k / under, k % under / p.inputs, k % p.inputs);
  };
  if (p.channels() < padded || p.group > 1) std::fill_n(packed, rows * padded, 0.0f);
  if (p.group > 1) {  // one slab of one vector
    for (int64_t i = 0; i < count * p.group; ++i) {
      const int64_t k = i / p.group, u = i % p.group;
      const int64_t at = k / under * p.run() + k % under + u * p.stride * p.inputs;
      const float* from = source.from + offset(k);
      float* to = packed + at * lanes + u * p.outputs;
      for (int64_t o = 0; o < p.outputs; ++o) to[o] = from[o * source.next_output];
    }
    return;
  }
  parallel_for(
      context, (count + kBlock - 1) / kBlock, 1 + 1024 / padded, [&](int64_t begin, int64_t end) {
        for (int64_t block = begin; block < end; ++block) {
          const int64_t first = block * kBlock, last = std::min(count, first + kBlock);
          const float* from[kBlock];
          for (int64_t k = first; k < last; ++k) from[k - first] = source.from + offset(k);
          pack_rows(packed, rows, p.channels(), lanes, first, last, from, source.next_output);
        }
      });
}

inline Tensor padded_bias(const Context& context, const Tensor* bias, const Packing& p, int lanes) {
  Tensor out = Tensor::zeros(context, {round_up(p.channels(), lanes)});
  for (int64_t i = 0; bias != nullptr && i < p.channels(); ++i) {
    out.data<float>()[i] = bias->data<float>()[i % p.outputs];
  }
  return out;
}

// Adds the chunks of sums (chunks, size) into the first, in order.
void add_chunks(Tensor& sums);
// dw (o, rows, columns, inputs) = sums (rows, run, padded channels), over the pixels of a group.
void gather_weight(const Packing& p, const float* sums, int64_t padded, Tensor& dw);

inline Tensor frames(const Context& context, const Frame& f) {
  return Tensor::empty(context, {context.threads(), f.is_image() ? 0 : f.floats()});
}

}  // namespace halftone::kernels
