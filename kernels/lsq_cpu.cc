#include "kernels/lsq.h"

#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/grid_walk.h"
#include "kernels/reduce.h"

namespace halftone::kernels {
namespace {

using quant_math::LsqEdge;

// The sums of every piece: by column of a tile, or one; those of ds, then those of dbeta.
struct Partial {
  Partial(const Context& context, const GridWalk& walk, int64_t kinds)
      : columns(walk.tiled ? walk.width : 1),
        kinds(kinds),
        scratch(context, walk.pieces * columns * kinds + 1),
        sums(scratch.data()) {}
  double* of(int64_t piece, int64_t kind) { return sums + (piece * kinds + kind) * columns; }

  // Sums of a piece that is not tiled, from its lanes.
  void add_lanes(const double* lanes, double* sum) const {
    *sum = 0.0;
    for (int64_t j = 0; j < kQuantLanes; ++j) *sum += lanes[j];
  }
  void total(const GridWalk& walk, int64_t kind, std::vector<double>& out) {
    out.assign(walk.channels, 0.0);
    for (int64_t p = 0; p < walk.pieces; ++p) {
      const double* from = of(p, kind);
      if (!walk.tiled) out[walk.channel(p)] += *from;
      for (int64_t j = 0; walk.tiled && j < columns; j += walk.channels) {
        for (int64_t c = 0; c < walk.channels; ++c) out[c] += from[j + c];
      }
    }
  }

  int64_t columns, kinds;
  DoubleScratch scratch;
  double* sums;
};

void run_piece(QuantBodies::Body body, int64_t piece, QuantBlock& b, Partial& partial) {
  double lanes[2 * kQuantLanes] = {};
  if (b.period > 0) {
    std::fill_n(partial.of(piece, 0), partial.columns * partial.kinds, 0.0);
    b.ds = partial.of(piece, 0);
    b.dbeta = partial.of(piece, 1);
    return body(b);
  }
  b.ds = lanes;
  b.dbeta = lanes + kQuantLanes;
  body(b);
  for (int64_t k = 0; k < partial.kinds; ++k) {
    partial.add_lanes(lanes + k * kQuantLanes, partial.of(piece, k));
  }
}

void run(const char* op, const Tensor& dy, const Tensor& x, const Grids& grids, LsqEdge edge,
         Tensor* dx, std::vector<double>& ds, std::vector<double>* dbeta) {
  check_same(op, x, dy);
  if (dx != nullptr) check_same(op, x, *dx);
  const bool plus = dbeta != nullptr;
  const GridWalk walk(op, x, grids.axis, grids.list.size());
  const GridColumns columns(walk, grids,
                            plus ? GridColumns::Rule::kLsqPlus : GridColumns::Rule::kLsq);
  Partial partial(x.context(), walk, plus ? 2 : 1);
  QuantBlock block{};
  block.x = x.data<float>();
  block.dy = dy.data<float>();
  block.out = dx != nullptr ? dx->data<float>() : nullptr;
  block.stream = dx != nullptr && streams(block.out, x.numel() * 4);
  const QuantBodies& bodies = quant_bodies();
  const auto body = (plus ? bodies.lsq_plus : bodies.lsq)[edge == LsqEdge::kPaper];
  walk.for_pieces(x.context(), [&](int64_t p, int64_t channel, int64_t begin, int64_t end) {
    QuantBlock b = block;
    columns.set(walk, channel, begin, end, b);
    run_piece(body, p, b, partial);
  });
  partial.total(walk, 0, ds);
  if (plus) partial.total(walk, 1, *dbeta);
}

}  // namespace

void lsq_backward(const Tensor& dy, const Tensor& x, const Grids& grids, LsqEdge edge, Tensor* dx,
                  std::vector<double>& ds) {
  HALFTONE_ON_DEVICE(lsq_backward, x, dy, x, grids, edge, dx, ds);
  run("lsq_backward", dy, x, grids, edge, dx, ds, nullptr);
}

void lsq_plus_backward(const Tensor& dy, const Tensor& x, const Grids& grids, LsqEdge edge,
                       Tensor* dx, std::vector<double>& ds, std::vector<double>& dbeta) {
  HALFTONE_ON_DEVICE(lsq_plus_backward, x, dy, x, grids, edge, dx, ds, dbeta);
  run("lsq_plus_backward", dy, x, grids, edge, dx, ds, &dbeta);
}

}  // namespace halftone::kernels
