// Forward and data gradient: weights, blocks of tiles and their split over threads.
#include "kernels/conv_winograd.h"

#include "kernels/conv_winograd_blocks.h"
#include "kernels/parallel.h"

namespace halftone::kernels {
namespace {

// A correlation of images: a forward convolution, or a data gradient with rotated weights.
struct Problem {
  WinogradImages x;
  int64_t images, rows, columns, outputs;  // of y
  WinogradWeights weights;
  const float* bias;
  float* y;
  bool adds;  // to what y holds

  int64_t inputs() const { return x.channels; }
};

struct Cut {
  Cut(const Problem& p, int64_t lanes)
      : grid(p.images, p.rows, p.columns),
        tiles(p.inputs() < 64 ? 56 : 28),  // whole groups of the product's registers
        input(tiles, p.inputs(), lanes),
        sums(tiles, 2 * lanes, lanes) {}

  WinogradGrid grid;
  int64_t tiles;  // of a block
  WinogradBlock input, sums;
};

void transform_output(const WinogradKernels& k, const Problem& p, const Cut& c, int64_t channel,
                      int vectors, int64_t begin, int64_t end, const float* sums) {
  for_winograd_runs(c.grid, begin, end, [&](const WinogradRun& run) {
    WinogradOutput job{};
    job.sums = sums + run.before * k.lanes;
    job.next_position = c.sums.next_position;
    job.next_vector = c.sums.next_vector;
    job.bias = p.bias == nullptr ? nullptr : p.bias + channel;
    job.to = p.y + ((run.image * p.rows + run.y) * p.columns + run.x) * p.outputs + channel;
    job.next_row = p.columns * p.outputs;
    job.next_pixel = p.outputs;
    job.rows = std::min(kWinogradTile, p.rows - run.y);
    job.pixels = std::min(kWinogradTile * run.tiles, p.columns - run.x);
    job.tiles = run.tiles;
    job.adds = p.adds;
    k.output[vectors - 1](job);
  });
}

// Vectors of output channels in the slab of weights that starts at `channel`.
int vectors_of(const Problem& p, int64_t channel, int64_t lanes) {
  return p.outputs - channel > lanes ? 2 : 1;
}

// Slab after slab, each (positions, inputs, its output channels).
Tensor transform_weights(const WinogradKernels& k, const Problem& p, const Context& context) {
  Tensor out = Tensor::empty(context, {kWinogradPositions, p.inputs(), p.outputs});
  float* to = out.data<float>();
  constexpr int64_t kPiece = 16;  // inputs
  const int64_t pieces = (p.inputs() + kPiece - 1) / kPiece;
  const int64_t slabs = (p.outputs + 2 * k.lanes - 1) / (2 * k.lanes);
  parallel_for(context, pieces * slabs, 2, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t channel = i / pieces * 2 * k.lanes, first = i % pieces * kPiece;
      const int vectors = vectors_of(p, channel, k.lanes);
      WinogradWeights job = p.weights;
      job.from += channel * job.next_output + first * job.next_input;
      job.inputs = std::min(kPiece, p.inputs() - first);
      job.next_position = p.inputs() * vectors * k.lanes;
      job.to = to + kWinogradPositions * p.inputs() * channel + first * vectors * k.lanes;
      k.weights[vectors - 1](job);
    }
  });
  return out;
}

void run_block(const WinogradKernels& k, const Problem& p, const Cut& c, const float* weights,
               int64_t begin, int64_t end, float* scratch) {
  float* sums = scratch + c.input.floats();
  transform_tiles(k.input, kWinogradSide, p.x, c.grid, begin, end, c.input, scratch);
  for (int64_t channel = 0; channel < p.outputs; channel += 2 * k.lanes) {
    const int vectors = vectors_of(p, channel, k.lanes);
    for (int64_t i = 0; i < kWinogradPositions; ++i) {
      WinogradProduct job{};
      job.input = scratch + i * c.input.next_position;
      job.next_vector = c.input.next_vector;
      job.vectors = p.inputs() / k.lanes;
      job.weights = weights + p.inputs() * (kWinogradPositions * channel + i * vectors * k.lanes);
      job.sums = sums + i * c.sums.next_position;
      job.next_sums = c.sums.next_vector;
      job.tiles = end - begin;
      k.product[vectors - 1](job);
    }
    transform_output(k, p, c, channel, vectors, begin, end, sums);
  }
}

void run(const WinogradKernels& k, Problem p, const Context& context) {
  const Cut c(p, k.lanes);
  const Tensor weights = transform_weights(k, p, context);
  const Tensor zeros = Tensor::zeros(context, {p.x.width * p.inputs()});
  p.x.zeros = zeros.data<float>();
  const int64_t floats = c.input.floats() + c.sums.floats();
  Tensor scratch = Tensor::empty(context, {context.threads(), floats});
  const float* ws = weights.data<float>();
  float* memory = scratch.data<float>();
  parallel_for(context, c.grid.tiles, c.tiles, [&](int64_t begin, int64_t end) {
    float* own = memory + omp_get_thread_num() * floats;
    for (int64_t first = begin; first < end; first += c.tiles)
      run_block(k, p, c, ws, first, std::min(end, first + c.tiles), own);
  });
}

void forward(const WinogradKernels& k, const ConvGeometry& g, const Tensor& x, const Tensor& w,
             const Tensor* bias, Tensor& y) {
  Problem p{};
  p.x = {x.data<float>(), g.h, g.w, g.c, g.options.pad_h, g.options.pad_w, nullptr};
  p.images = g.n;
  p.rows = g.oh;
  p.columns = g.ow;
  p.outputs = g.o;
  p.weights.from = w.data<float>();
  p.weights.row = 3 * g.c;
  p.weights.column = g.c;
  p.weights.next_output = 9 * g.c;
  p.weights.next_input = 1;
  p.bias = bias == nullptr ? nullptr : bias->data<float>();
  p.y = y.data<float>();
  run(k, p, x.context());
}

// Inputs and outputs change places; the kernel is rotated.
void backward_data(const WinogradKernels& k, const ConvGeometry& g, const Tensor& dy,
                   const Tensor& w, Tensor& dx, bool adds) {
  Problem p{};
  p.x = {dy.data<float>(), g.oh, g.ow, g.o, 2 - g.options.pad_h, 2 - g.options.pad_w, nullptr};
  p.images = g.n;
  p.rows = g.h;
  p.columns = g.w;
  p.outputs = g.c;
  p.weights.from = w.data<float>() + 8 * g.c;
  p.weights.row = -3 * g.c;
  p.weights.column = -g.c;
  p.weights.next_output = 1;
  p.weights.next_input = 9 * g.c;
  p.y = dx.data<float>();
  p.adds = adds;
  run(k, p, dy.context());
}

template <const WinogradKernels& (*kKernels)()>
const ConvBodies& bodies_of() {
  static const ConvBodies bodies{
      [](const ConvGeometry& g, const Tensor& x, const Tensor& w, const Tensor* bias, Tensor& y) {
        forward(kKernels(), g, x, w, bias, y);
      },
      [](const ConvGeometry& g, const Tensor& dy, const Tensor& w, Tensor& dx) {
        backward_data(kKernels(), g, dy, w, dx, false);
      },
      [](const ConvGeometry& g, const Tensor& x, const Tensor& dy, Tensor& dw, Tensor* dbias) {
        winograd_backward_weight(kKernels(), g, x, dy, dw, dbias);
      },
      [](const ConvGeometry& g, const Tensor& dy, const Tensor& w, Tensor& dx) {
        backward_data(kKernels(), g, dy, w, dx, true);
      }};
  return bodies;
}

}  // namespace

bool winograd_takes(const ConvGeometry& g, int lanes) {
  const Conv2dOptions& o = g.options;
  return g.kh == 3 && g.kw == 3 && o.stride_h == 1 && o.stride_w == 1 && o.dilation_h == 1 &&
         o.dilation_w == 1 && o.groups == 1 && g.c % lanes == 0 && g.o % lanes == 0;
}

const ConvBodies* winograd_conv_avx512() {
  const bool there = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                     __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  return there ? &bodies_of<winograd_kernels_avx512>() : nullptr;
}

const ConvBodies* winograd_conv_avx2() {
  const bool there = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return there ? &bodies_of<winograd_kernels_avx2>() : nullptr;
}

}  // namespace halftone::kernels
