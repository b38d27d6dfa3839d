// Forward and data gradient: weights, blocks of tiles and their split over threads.
#include "kernels/conv_winograd.h"

#include <algorithm>

#include "kernels/parallel.h"

namespace halftone::kernels {
namespace {

int64_t divide_up(int64_t n, int64_t step) { return (n + step - 1) / step; }

// A correlation of images: a forward convolution, or a data gradient with rotated weights.
struct Problem {
  int64_t images, height, width, inputs;  // of x
  int64_t rows, columns, outputs;         // of y
  int64_t top, left;                      // zeros around x
  WinogradWeights weights;
  const float *x, *bias;
  float* y;
  bool adds;  // to what y holds
};

// The tiles of a problem, all images in one sequence, and the scratch of a block of them.
struct Cut {
  Cut(const Problem& p, int64_t lanes)
      : tile_rows(divide_up(p.rows, kWinogradTile)),
        tile_columns(divide_up(p.columns, kWinogradTile)),
        tiles(p.images * tile_rows * tile_columns),
        lanes(lanes),
        block(p.inputs < 64 ? 56 : 28),  // both by two groups of the product's registers
        next_vector(block * lanes),
        // A further line, so that the positions of a tile are not all in one set of the cache.
        next_input(p.inputs / lanes * next_vector + kLine),
        next_sums(2 * next_vector + kLine) {}
  int64_t scratch() const { return kWinogradPositions * (next_input + next_sums); }

  static constexpr int64_t kLine = 16;
  int64_t tile_rows, tile_columns;  // of an image
  int64_t tiles, lanes, block;
  int64_t next_vector, next_input, next_sums;  // floats between vectors, positions
};

// Adjacent tiles of one row of tiles.
struct Run {
  int64_t image, y, x;    // of the first output
  int64_t tiles, before;  // in the block
};

template <class F>
void for_runs(const Cut& c, int64_t begin, int64_t end, F f) {
  for (int64_t at = begin; at < end;) {
    const int64_t row = at / c.tile_columns, column = at % c.tile_columns;
    const int64_t tiles = std::min(c.tile_columns - column, end - at);
    f(Run{row / c.tile_rows, row % c.tile_rows * kWinogradTile, column * kWinogradTile, tiles,
          at - begin});
    at += tiles;
  }
}

void transform_input(const WinogradKernels& k, const Problem& p, const Cut& c, const float* zeros,
                     int64_t begin, int64_t end, float* to) {
  for_runs(c, begin, end, [&](const Run& run) {
    WinogradInput job{};
    for (int64_t r = 0; r < kWinogradSide; ++r) {
      const int64_t y = run.y - p.top + r;
      const bool inside = y >= 0 && y < p.height;
      job.rows[r] = inside ? p.x + (run.image * p.height + y) * p.width * p.inputs : zeros;
    }
    job.column = run.x - p.left;
    job.width = p.width;
    job.channels = p.inputs;
    job.tiles = run.tiles;
    job.to = to + run.before * c.lanes;
    job.next_position = c.next_input;
    job.next_vector = c.next_vector;
    k.input(job);
  });
}

void transform_output(const WinogradKernels& k, const Problem& p, const Cut& c, int64_t channel,
                      int vectors, int64_t begin, int64_t end, const float* sums) {
  for_runs(c, begin, end, [&](const Run& run) {
    WinogradOutput job{};
    job.sums = sums + run.before * c.lanes;
    job.next_position = c.next_sums;
    job.next_vector = c.next_vector;
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
  Tensor out = Tensor::empty(context, {kWinogradPositions, p.inputs, p.outputs});
  float* to = out.data<float>();
  constexpr int64_t kPiece = 16;  // inputs
  const int64_t pieces = divide_up(p.inputs, kPiece), slabs = divide_up(p.outputs, 2 * k.lanes);
  parallel_for(context, pieces * slabs, 2, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t channel = i / pieces * 2 * k.lanes, first = i % pieces * kPiece;
      const int vectors = vectors_of(p, channel, k.lanes);
      WinogradWeights job = p.weights;
      job.from += channel * job.next_output + first * job.next_input;
      job.inputs = std::min(kPiece, p.inputs - first);
      job.next_position = p.inputs * vectors * k.lanes;
      job.to = to + kWinogradPositions * p.inputs * channel + first * vectors * k.lanes;
      k.weights[vectors - 1](job);
    }
  });
  return out;
}

void run_block(const WinogradKernels& k, const Problem& p, const Cut& c, const float* weights,
               const float* zeros, int64_t begin, int64_t end, float* scratch) {
  float* sums = scratch + kWinogradPositions * c.next_input;
  transform_input(k, p, c, zeros, begin, end, scratch);
  for (int64_t channel = 0; channel < p.outputs; channel += 2 * c.lanes) {
    const int vectors = vectors_of(p, channel, c.lanes);
    for (int64_t i = 0; i < kWinogradPositions; ++i) {
      WinogradProduct job{};
      job.input = scratch + i * c.next_input;
      job.next_vector = c.next_vector;
      job.vectors = p.inputs / c.lanes;
      job.weights = weights + p.inputs * (kWinogradPositions * channel + i * vectors * c.lanes);
      job.sums = sums + i * c.next_sums;
      job.next_sums = c.next_vector;
      job.tiles = end - begin;
      k.product[vectors - 1](job);
    }
    transform_output(k, p, c, channel, vectors, begin, end, sums);
  }
}

void run(const WinogradKernels& k, const Problem& p, const Context& context) {
  const Cut c(p, k.lanes);
  const Tensor weights = transform_weights(k, p, context);
  const Tensor zeros = Tensor::zeros(context, {p.width * p.inputs});
  Tensor scratch = Tensor::empty(context, {context.threads(), c.scratch()});
  const float *ws = weights.data<float>(), *zs = zeros.data<float>();
  float* memory = scratch.data<float>();
  parallel_for(context, c.tiles, c.block, [&](int64_t begin, int64_t end) {
    float* own = memory + omp_get_thread_num() * c.scratch();
    for (int64_t first = begin; first < end; first += c.block)
      run_block(k, p, c, ws, zs, first, std::min(end, first + c.block), own);
  });
}

void forward(const WinogradKernels& k, const ConvGeometry& g, const Tensor& x, const Tensor& w,
             const Tensor* bias, Tensor& y) {
  WinogradWeights weights{};
  weights.from = w.data<float>();
  weights.row = 3 * g.c;
  weights.column = g.c;
  weights.next_output = 9 * g.c;
  weights.next_input = 1;
  run(k,
      {g.n, g.h, g.w, g.c, g.oh, g.ow, g.o, g.options.pad_h, g.options.pad_w, weights,
       x.data<float>(), bias == nullptr ? nullptr : bias->data<float>(), y.data<float>(), false},
      x.context());
}

// Inputs and outputs change places; the kernel is rotated.
void backward_data(const WinogradKernels& k, const ConvGeometry& g, const Tensor& dy,
                   const Tensor& w, Tensor& dx, bool adds) {
  WinogradWeights weights{};
  weights.from = w.data<float>() + 8 * g.c;
  weights.row = -3 * g.c;
  weights.column = -g.c;
  weights.next_output = 1;
  weights.next_input = 9 * g.c;
  run(k,
      {g.n, g.oh, g.ow, g.o, g.h, g.w, g.c, 2 - g.options.pad_h, 2 - g.options.pad_w, weights,
       dy.data<float>(), nullptr, dx.data<float>(), adds},
      dy.context());
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
      nullptr,
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
