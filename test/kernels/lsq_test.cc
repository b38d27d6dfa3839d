#include "kernels/lsq.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "kernels/moments.h"
#include "test/kernels/oracle.h"

using namespace halftone;
using quant_math::Grid;
using quant_math::LsqEdge;
using test::with_threads;

namespace {

int64_t position(const Shape& shape, int axis, int64_t i) {
  if (axis < 0) return 0;
  for (int a = shape.rank() - 1; a > axis; --a) i /= shape[a];
  return i % shape[axis];
}

kernels::Grids grids_of(const Shape& shape, int axis, int32_t zero_point) {
  kernels::Grids grids;
  grids.axis = axis;
  for (int64_t c = 0; c < (axis < 0 ? 1 : shape[axis]); ++c) {
    grids.list.push_back({0.11f + 0.01f * static_cast<float>(c % 9), zero_point, -8, 7});
  }
  return grids;
}

// Values among which every channel has some exactly on both edges.
Tensor values_with_edges(const Context& context, const Shape& shape, const kernels::Grids& grids) {
  std::vector<float> x = test::random_values(shape.numel(), 1);
  for (size_t i = 0; i < x.size(); i += 5) {
    const Grid& g = grids.list[position(shape, grids.axis, static_cast<int64_t>(i))];
    x[i] = g.scale * static_cast<float>((i % 2 == 0 ? g.qmin : g.qmax) - g.zero_point);
  }
  return Tensor::from(context, shape, x);
}

struct Result {
  std::vector<float> dx;
  std::vector<double> ds, dbeta;
};

// What the scalar rule says, added up in one order.
Result oracle(const Tensor& dy, const Tensor& x, const kernels::Grids& grids, LsqEdge edge,
              bool plus) {
  Result r{std::vector<float>(x.numel()), std::vector<double>(grids.list.size()),
           std::vector<double>(grids.list.size())};
  for (int64_t i = 0; i < x.numel(); ++i) {
    const int64_t c = position(x.shape(), grids.axis, i);
    const Grid& g = grids.list[c];
    const auto rule = plus ? quant_math::lsq_plus_rule(g) : quant_math::lsq_rule(g);
    const auto share = quant_math::lsq_share(x.data<float>()[i], rule, edge);
    const float up = dy.data<float>()[i];
    r.dx[i] = share.pass ? up : 0.0f;
    r.ds[c] += static_cast<double>(up * share.scale);
    r.dbeta[c] += static_cast<double>(up * share.offset);
  }
  return r;
}

Result run(const Tensor& dy, const Tensor& x, const kernels::Grids& grids, LsqEdge edge,
           bool plus) {
  Result r;
  Tensor dx = test::like(x);
  if (plus) {
    kernels::lsq_plus_backward(dy, x, grids, edge, &dx, r.ds, r.dbeta);
  } else {
    kernels::lsq_backward(dy, x, grids, edge, &dx, r.ds);
  }
  r.dx = dx.to_vector<float>();
  return r;
}

// Double sums of up to 1e5 products below 20: orders differ by less than 1e-9.
bool close(const std::vector<double>& a, const std::vector<double>& b) {
  for (size_t c = 0; c < a.size(); ++c) {
    if (!(std::fabs(a[c] - b[c]) < 1e-9)) return false;
  }
  return a.size() == b.size();
}

}  // namespace

TEST_CASE("one pass gives dx, ds and dbeta at every axis; the same bits for every thread count") {
  const Shape shapes[] = {{1}, {5, 7, 3, 11}, {64, 3, 3, 37}, {3, 2100}, {40000}, {100003, 1}};
  for (const Shape& shape : shapes) {
    for (int axis = -1; axis < shape.rank(); ++axis) {
      for (const bool plus : {false, true}) {
        for (const LsqEdge edge : {LsqEdge::kInclusive, LsqEdge::kPaper}) {
          CAPTURE(shape.str(), axis, plus, edge);
          const Context one = with_threads(1);
          const kernels::Grids grids = grids_of(shape, axis, plus ? -3 : 0);
          const Tensor x = values_with_edges(one, shape, grids);
          const Tensor dy = test::random_tensor(one, shape, 2);
          const Result first = run(dy, x, grids, edge, plus);
          const Result want = oracle(dy, x, grids, edge, plus);
          REQUIRE(test::same_bits(first.dx, want.dx));
          REQUIRE(close(first.ds, want.ds));
          if (plus) REQUIRE(close(first.dbeta, want.dbeta));
          for (const int threads : {2, 3}) {
            const Context many = with_threads(threads);
            const Tensor x2 = Tensor::from(many, shape, x.to_vector<float>());
            const Tensor dy2 = Tensor::from(many, shape, dy.to_vector<float>());
            const Result other = run(dy2, x2, grids, edge, plus);
            REQUIRE(other.ds == first.ds);
            REQUIRE(other.dbeta == first.dbeta);
            REQUIRE(test::same_bits(other.dx, first.dx));
          }
        }
      }
    }
  }
}

TEST_CASE("without dx, and with dx in place of dy, ds is the same") {
  const Context context;
  const Shape shape{9, 50, 7};
  const kernels::Grids grids = grids_of(shape, 2, 0);
  const Tensor x = values_with_edges(context, shape, grids);
  Tensor dy = test::random_tensor(context, shape, 2);
  const Result want = run(dy, x, grids, LsqEdge::kPaper, false);
  std::vector<double> ds;
  kernels::lsq_backward(dy, x, grids, LsqEdge::kPaper, nullptr, ds);
  REQUIRE(ds == want.ds);
  kernels::lsq_backward(dy, x, grids, LsqEdge::kPaper, &dy, ds);
  REQUIRE(ds == want.ds);
  REQUIRE(test::same_bits(dy.to_vector<float>(), want.dx));
}

TEST_CASE("empty tensors, wrong numbers of scales, wrong shapes") {
  const Context context;
  const Tensor none = Tensor::zeros(context, {0, 3}), x = Tensor::zeros(context, {2, 3});
  std::vector<double> ds{9.0};
  kernels::Grids grids = grids_of({0, 3}, 1, 0);
  kernels::lsq_backward(none, none, grids, LsqEdge::kPaper, nullptr, ds);
  REQUIRE(ds == std::vector<double>{0, 0, 0});
  REQUIRE_THROWS_WITH(kernels::lsq_backward(none, x, grids, LsqEdge::kPaper, nullptr, ds),
                      Catch::Contains("lsq_backward") && Catch::Contains("[2, 3]"));
  grids.list.pop_back();
  REQUIRE_THROWS_WITH(kernels::lsq_backward(x, x, grids, LsqEdge::kPaper, nullptr, ds),
                      Catch::Contains("3 scales"));
}

TEST_CASE("NaN and infinities in x and dy: clipped in dx, seen in ds only through dy") {
  const Context context;
  const Tensor x = Tensor::from(context, Shape{4},
                                std::vector<float>{test::kNan, test::kInf, -test::kInf, 0.1f});
  const Tensor ones = Tensor::full(context, {4}, 1.0f);
  kernels::Grids grids;
  grids.list = {{0.1f, 0, -8, 7}};
  Tensor dx = test::like(x);
  std::vector<double> ds;
  kernels::lsq_backward(ones, x, grids, LsqEdge::kInclusive, &dx, ds);
  REQUIRE(dx.to_vector<float>() == std::vector<float>{0, 0, 0, 1});
  REQUIRE(ds[0] == -8.0 + 7.0 - 8.0);
  const Tensor bad = Tensor::full(context, {4}, test::kNan);
  kernels::lsq_backward(bad, x, grids, LsqEdge::kInclusive, &dx, ds);
  REQUIRE(std::isnan(ds[0]));
}

TEST_CASE("moments at every axis: exact on integers, the same bits for every thread count") {
  const Shape shapes[] = {{7}, {5, 7, 3, 11}, {3, 2100}, {100003}};
  for (const Shape& shape : shapes) {
    for (int axis = -1; axis < shape.rank(); ++axis) {
      const std::vector<float> values = test::random_integers(shape.numel(), 3, 100);
      const std::vector<float> reals = test::random_values(shape.numel(), 4);
      std::vector<kernels::Moments> want(axis < 0 ? 1 : shape[axis]), seen;
      for (int64_t i = 0; i < shape.numel(); ++i) {
        kernels::Moments& m = want[position(shape, axis, i)];
        const double v = static_cast<double>(values[i]);
        m = {m.count + 1, m.sum + v, m.sum_magnitudes + std::fabs(v), m.sum_squares + v * v};
      }
      for (const int threads : {1, 2, 3}) {
        CAPTURE(shape.str(), axis, threads);
        const Context context = with_threads(threads);
        const auto got = kernels::moments(Tensor::from(context, shape, values), axis);
        const auto real = kernels::moments(Tensor::from(context, shape, reals), axis);
        if (seen.empty()) seen = real;
        REQUIRE(got.size() == want.size());
        for (size_t c = 0; c < got.size(); ++c) {
          REQUIRE(got[c].count == want[c].count);
          REQUIRE(got[c].sum == want[c].sum);
          REQUIRE(got[c].sum_magnitudes == want[c].sum_magnitudes);
          REQUIRE(got[c].sum_squares == want[c].sum_squares);
          REQUIRE(real[c].sum == seen[c].sum);
          REQUIRE(real[c].sum_squares == seen[c].sum_squares);
        }
      }
    }
  }
  const Context context;
  REQUIRE(kernels::moments(Tensor::full(context, {5}, 0.1f))[0].deviation() == 0.0);
}
