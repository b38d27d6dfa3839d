// The weight gradient, F(3x3, 4x4): an output gradient of 4 x 4 is the kernel, and 3 x 3 taps are
// what comes out. The sums over tiles are taken before the last transform.
#include "kernels/column_sums.h"
#include "kernels/conv_direct_operands.h"
#include "kernels/conv_winograd_blocks.h"

namespace halftone::kernels {
namespace {

// Chunks of images, each summed by itself, so that the order of a sum is that of any thread count.
int64_t chunks_of(const WinogradGrid& grid, int64_t images) {
  constexpr int64_t kMost = 16, kTiles = 64;  // enough of them to pay for a chunk's last transform
  return std::min({images, kMost, (grid.tiles + kTiles - 1) / kTiles});
}

struct Problem {
  WinogradImages x, dy;
  WinogradGrid grid;
  int64_t tiles;  // of a block
  WinogradBlock input, gradient;

  int64_t floats() const { return input.floats() + gradient.floats(); }  // of a block
  int64_t size() const { return x.channels * dy.channels; }              // of the sums per position
};

// sums (positions, inputs, outputs) = or += those of a block.
void add_block(const WinogradKernels& k, const Problem& p, int64_t begin, int64_t end, bool first,
               float* scratch, float* sums) {
  float* gradient = scratch + p.input.floats();
  transform_tiles(k.input, kWinogradSide, p.x, p.grid, begin, end, p.input, scratch);
  transform_tiles(k.gradient, kWinogradTile, p.dy, p.grid, begin, end, p.gradient, gradient);
  for (int64_t i = 0; i < kWinogradPositions; ++i) {
    WinogradWeightProduct job{};
    job.input = scratch + i * p.input.next_position;
    job.gradient = gradient + i * p.gradient.next_position;
    job.next_vector = p.input.next_vector;
    job.inputs = p.x.channels;
    job.outputs = p.dy.channels;
    job.tiles = end - begin;
    job.sums = sums + i * p.size();
    job.adds = !first;
    k.weight_product(job);
  }
}

}  // namespace

void winograd_backward_weight(const WinogradKernels& k, const ConvGeometry& g, const Tensor& x,
                              const Tensor& dy, Tensor& dw, Tensor* dbias) {
  const Context& context = x.context();
  const Tensor zeros = Tensor::zeros(context, {std::max(g.w * g.c, g.ow * g.o)});
  const float* zs = zeros.data<float>();
  const int64_t tiles = 56;
  const Problem p{{x.data<float>(), g.h, g.w, g.c, g.options.pad_h, g.options.pad_w, zs},
                  {dy.data<float>(), g.oh, g.ow, g.o, 0, 0, zs},
                  {g.n, g.oh, g.ow},
                  tiles,
                  {tiles, g.c, k.lanes},
                  {tiles, g.o, k.lanes}};
  const int64_t chunks = chunks_of(p.grid, g.n), per_image = p.grid.tiles / g.n;
  const int64_t own = p.floats() + kWinogradPositions * p.size();
  Tensor scratch = Tensor::empty(context, {context.threads(), own});
  Tensor partial = Tensor::empty(context, {chunks, 9 * p.size()});  // each (taps, inputs, outputs)
  float *memory = scratch.data<float>(), *parts = partial.data<float>();
  parallel_for(context, chunks, 1, [&](int64_t begin, int64_t end) {
    float *block = memory + omp_get_thread_num() * own, *sums = block + p.floats();
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = g.n * i / chunks * per_image, last = g.n * (i + 1) / chunks * per_image;
      for (int64_t at = first; at < last; at += tiles)
        add_block(k, p, at, std::min(last, at + tiles), at == first, block, sums);
      k.weight_output(sums, p.size(), parts + i * 9 * p.size());
    }
  });
  add_chunks(partial);
  gather_weight({3, 3, g.c, g.o}, parts, g.o, dw);
  if (dbias != nullptr) column_sums(dy, *dbias);
}

}  // namespace halftone::kernels
