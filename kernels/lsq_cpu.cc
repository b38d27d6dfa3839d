#include "kernels/check.h"
#include "kernels/grid_walk.h"
#include "kernels/lsq.h"
#include "kernels/reduce.h"

namespace halftone::kernels {
namespace {

using quant_math::LsqEdge;
using quant_math::LsqRule;
using quant_math::LsqShare;

constexpr int64_t kLanes = 16;  // partial sums of a run, added in order at its end

struct Operands {
  const float *dy, *x;
  float* dx;  // or null
};

// The products of one block with ds' and dbeta's factors. kStep 0: one rule, 1: rules by column.
template <LsqEdge kEdge, int kStep>
void multiply(const Operands& t, int64_t begin, int64_t count, const LsqRule* rules, float* ds,
              float* dbeta) {
  const float *dy = t.dy + begin, *x = t.x + begin;
  for (int64_t i = 0; i < count; ++i) {
    const float up = dy[i];
    const LsqShare share = quant_math::lsq_share(x[i], rules[i * kStep], kEdge);
    ds[i] = up * share.scale;
    if (dbeta != nullptr) dbeta[i] = up * share.offset;
    if (t.dx != nullptr) t.dx[begin + i] = share.pass ? up : 0.0f;
  }
}

void add(const float* products, int64_t count, double* sums, int64_t lanes) {
  for (int64_t i = 0; i < count; i += lanes) {
    const int64_t n = std::min(lanes, count - i);
    for (int64_t j = 0; j < n; ++j) sums[j] += static_cast<double>(products[i + j]);
  }
}

template <LsqEdge kEdge>
void backward(const Operands& t, const Context& context, const GridWalk& walk,
              const std::vector<LsqRule>& rules, std::vector<double>& ds,
              std::vector<double>* dbeta) {
  // Sums of a piece: by column when tiled, else one.
  const int64_t columns = walk.tiled ? walk.width : 1, lanes = walk.tiled ? walk.width : kLanes;
  DoubleScratch scratch(context, walk.pieces * columns * 2 + 1);
  double* partial = scratch.data();
  walk.for_pieces(context, [&](int64_t p, int64_t channel, int64_t begin, int64_t end) {
    std::vector<double> sums(lanes * 2);
    float products[kBlock], clipped[kBlock];
    for_blocks(walk, channel, begin, end, [&](int64_t i, int64_t count, int64_t column) {
      float* second = dbeta != nullptr ? clipped : nullptr;
      const LsqRule* rule = &rules[column];
      (walk.tiled ? multiply<kEdge, 1> : multiply<kEdge, 0>)(t, i, count, rule, products, second);
      const int64_t at = walk.tiled ? column : 0;
      const int64_t step = walk.tiled ? count : kLanes;
      add(products, count, &sums[at], step);
      if (second != nullptr) add(second, count, &sums[lanes + at], step);
    });
    double* out = partial + p * columns * 2;
    for (int64_t j = 0; j < columns * 2; ++j) out[j] = 0.0;
    for (int64_t j = 0; j < lanes * 2; ++j) {
      out[j / lanes * columns + j % lanes % columns] += sums[j];
    }
  });
  ds.assign(walk.channels, 0.0);
  if (dbeta != nullptr) dbeta->assign(walk.channels, 0.0);
  for (int64_t p = 0; p < walk.pieces; ++p) {
    for (int64_t j = 0; j < columns; ++j) {
      const int64_t c = walk.tiled ? j % walk.channels : p / walk.parts % walk.channels;
      ds[c] += partial[p * columns * 2 + j];
      if (dbeta != nullptr) (*dbeta)[c] += partial[p * columns * 2 + columns + j];
    }
  }
}

void run(const char* op, const Tensor& dy, const Tensor& x, const Grids& grids, LsqEdge edge,
         Tensor* dx, std::vector<double>& ds, std::vector<double>* dbeta) {
  check_same(op, x, dy);
  if (dx != nullptr) check_same(op, x, *dx);
  const GridWalk walk(op, x, grids.axis, grids.list.size());
  std::vector<LsqRule> rules;
  for (int64_t j = 0; j < (walk.tiled ? walk.width : walk.channels); ++j) {
    const quant_math::Grid& g = grids.list[j % walk.channels];
    rules.push_back(dbeta != nullptr ? quant_math::lsq_plus_rule(g) : quant_math::lsq_rule(g));
  }
  const Operands t{dy.data<float>(), x.data<float>(), dx != nullptr ? dx->data<float>() : nullptr};
  (edge == LsqEdge::kPaper ? backward<LsqEdge::kPaper>
                           : backward<LsqEdge::kInclusive>)(t, x.context(), walk, rules, ds, dbeta);
}

}  // namespace

void lsq_backward(const Tensor& dy, const Tensor& x, const Grids& grids, LsqEdge edge, Tensor* dx,
                  std::vector<double>& ds) {
  run("lsq_backward", dy, x, grids, edge, dx, ds, nullptr);
}

void lsq_plus_backward(const Tensor& dy, const Tensor& x, const Grids& grids, LsqEdge edge,
                       Tensor* dx, std::vector<double>& ds, std::vector<double>& dbeta) {
  run("lsq_plus_backward", dy, x, grids, edge, dx, ds, &dbeta);
}

}  // namespace halftone::kernels
