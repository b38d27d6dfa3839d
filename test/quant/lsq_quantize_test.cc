// The module of LSQ and LSQ+: first scales, both gradients, state.
#include "quant/lsq_quantize.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "autograd/ops.h"
#include "quant/affine_start.h"
#include "test/quant/chain_oracle.h"

using namespace halftone;
using halftone::test::spread;

namespace {

QuantSpec spec_of(int bits, bool is_signed, bool symmetric = true) {
  QuantSpec s;
  s.bits = bits;
  s.is_signed = is_signed;
  s.symmetric = symmetric;
  return s;
}

std::shared_ptr<LsqQuantize> lsq(const Context& c, QuantType type, const QuantSpec& spec,
                                 int64_t channels = 0) {
  return make<LsqQuantize>(c, FakeQuantizeArgs{type, spec, channels, false});
}

Tensor tensor(const Context& c, const Shape& shape, const std::vector<float>& v) {
  return Tensor::from(c, shape, v);
}

float scale_of(const LsqQuantize& q, int64_t c = 0) { return q.scale.value().data<float>()[c]; }

void set_scale(LsqQuantize& q, float s) {
  q.set_ranges({{0.0f, s * static_cast<float>(q.empty_grid().qmax)}});
}

// Gradients of x and of what is learned, for an upstream gradient.
struct Gradients {
  std::vector<float> y, dx;
  float ds = 0, doffset = 0;
};
Gradients gradients(LsqQuantize& q, const Tensor& x, const std::vector<float>& up) {
  for (const Variable& v : q.learned()) Variable(v).zero_grad();
  const Variable in(x, true);
  Variable y = q({in});
  Gradients g;
  g.y = y.value().to_vector<float>();
  y.backward(Tensor::from(x.context(), x.shape(), up));
  g.dx = in.grad().to_vector<float>();
  g.ds = q.scale.grad().data<float>()[0];
  if (q.offset.defined()) g.doffset = q.offset.grad().data<float>()[0];
  return g;
}

}  // namespace

TEST_CASE("codes: full range, 8-bit weights negatable, -128 as NNI") {
  const Context c;
  const auto range = [&](QuantType type, int bits, bool is_signed, bool nni) {
    QuantSpec s = spec_of(bits, is_signed);
    s.nni = nni;
    const quant_math::Grid g = lsq(c, type, s)->empty_grid();
    return std::make_pair(g.qmin, g.qmax);
  };
  REQUIRE(range(QuantType::kWeight, 2, true, false) == std::make_pair(-2, 1));
  REQUIRE(range(QuantType::kWeight, 4, true, false) == std::make_pair(-8, 7));
  REQUIRE(range(QuantType::kWeight, 8, true, false) == std::make_pair(-127, 127));
  REQUIRE(range(QuantType::kWeight, 8, true, true) == std::make_pair(-128, 127));
  REQUIRE(range(QuantType::kInput, 8, true, false) == std::make_pair(-128, 127));
  REQUIRE(range(QuantType::kOutput, 4, false, false) == std::make_pair(0, 15));
}

// Golden case G22b: v, quantized, dv, ds before the gradient scale, for s = 1 and codes -2 .. 1.
TEST_CASE("both gradients at and around the edges: NNI's, and the paper's") {
  const float rows[][4] = {
      {-3.0f, -2, 0, -2},    {-2.0f, -2, 1, 0},   {-1.600000023841858f, -2, 1, -0.39999997f},
      {-1.5f, -2, 1, -0.5f}, {-0.5f, 0, 1, 0.5f}, {0.25f, 0, 1, -0.25f},
      {0.5f, 0, 1, -0.5f},   {1.0f, 1, 1, 0},     {1.399999976158142f, 1, 0, 1},
      {2.0f, 1, 0, 1}};
  const Context c;
  for (const bool nni : {true, false}) {
    QuantSpec spec = spec_of(2, true);
    spec.nni = nni;
    auto q = lsq(c, QuantType::kInput, spec);
    set_scale(*q, 1.0f);
    for (const auto& r : rows) {
      CAPTURE(nni, r[0]);
      const Gradients g = gradients(*q, tensor(c, {1}, {r[0]}), {1.0f});  // N qmax = 1: g = 1
      // The paper's equations 3 and 5 clip v = -2 and v = 1: dx 0, ds the bound.
      const bool edge = !nni && (r[0] == -2.0f || r[0] == 1.0f);
      REQUIRE(g.y[0] == r[1]);
      REQUIRE(g.dx[0] == (edge ? 0.0f : r[2]));
      REQUIRE(g.ds == (edge ? r[0] : r[3]));
    }
  }
}

TEST_CASE("the gradient scale counts weights, features of one sample, or all as NNI") {
  const Context c;
  const std::vector<float> up(24, 1.0f);
  // All clipped: ds = g * 24 * qmax.
  const auto ds = [&](QuantType type, bool nni) {
    QuantSpec s = spec_of(4, true);
    s.nni = nni;
    auto q = lsq(c, type, s);
    set_scale(*q, 1.0f);
    return static_cast<double>(gradients(*q, Tensor::full(c, {4, 6}, 9.0f), up).ds);
  };
  REQUIRE(ds(QuantType::kInput, false) == Approx(24 * 7 / std::sqrt(6.0 * 7)));
  REQUIRE(ds(QuantType::kInput, true) == Approx(24 * 7 / std::sqrt(24.0 * 7)));
  REQUIRE(ds(QuantType::kWeight, false) == Approx(24 * 7 / std::sqrt(24.0 * 7)));
}

TEST_CASE("per channel: scales and gradients are those of each channel alone") {
  const Context c;
  QuantSpec spec = spec_of(3, true);
  const Tensor w = spread(c, {3, 2, 2, 5}, -1.0f, 1.3f, 7);
  const std::vector<float> up = spread(c, w.shape(), -1.0f, 1.0f, 5).to_vector<float>();
  QuantSpec each = spec;
  each.per_channel = true;
  auto all = lsq(c, QuantType::kWeight, each, 3);
  const Variable in(w, true);
  Variable y = (*all)(in);
  y.backward(Tensor::from(c, w.shape(), up));
  for (int64_t k = 0; k < 3; ++k) {
    auto one = lsq(c, QuantType::kWeight, spec);
    const std::vector<float> part(up.begin() + k * 20, up.begin() + (k + 1) * 20);
    const Gradients g = gradients(*one, w.slice(k, k + 1), part);
    REQUIRE(scale_of(*all, k) == scale_of(*one));
    REQUIRE(y.value().slice(k, k + 1).to_vector<float>() == g.y);
    REQUIRE(in.grad().slice(k, k + 1).to_vector<float>() == g.dx);
    // Sums over other pieces: the order of additions differs.
    REQUIRE(all->scale.grad().data<float>()[k] == Approx(g.ds).epsilon(1e-6));
  }
}

TEST_CASE("the first scale is 2 mean |v| / sqrt(qmax), of the first training batch") {
  const Context c;
  auto q = lsq(c, QuantType::kInput, spec_of(4, true));
  const Tensor x = tensor(c, {2, 2}, {1, -2, 3, -4}), other = Tensor::full(c, {2, 2}, 100.0f);
  q->eval();
  REQUIRE((*q)(Variable(other)).value().to_vector<float>() == other.to_vector<float>());
  REQUIRE_FALSE(q->initialised());
  q->train();
  (*q)(Variable(x));
  REQUIRE(scale_of(*q) == static_cast<float>(5 / std::sqrt(7.0)));
  (*q)(Variable(other));
  q->eval();
  (*q)(Variable(other));
  REQUIRE(scale_of(*q) == static_cast<float>(5 / std::sqrt(7.0)));
}

// Three times .9 is 2.7 less a rounding in floats, so that NNI's scale is one below .9, and .9 lies
// beyond the last code.
TEST_CASE("NNI's first scale comes from a mean in floats") {
  const Context c;
  for (const bool nni : {true, false}) {
    QuantSpec spec = spec_of(2, true);
    spec.nni = nni;
    auto q = lsq(c, QuantType::kInput, spec);
    (*q)(Variable(Tensor::from<float>(c, {6}, {0.9f, 0.9f, 0.9f, 0, 0, 0})));
    REQUIRE(q->grids(1).list[0].scale == (nni ? std::nextafter(0.9f, 0.0f) : 0.9f));
  }
}

TEST_CASE("a float warm-up ends with a first scale, from its last step") {
  const Context c;
  QuantSpec spec = spec_of(4, false);
  spec.start_step = 3;
  auto q = lsq(c, QuantType::kOutput, spec);
  const auto run = [&](float v) {
    const float y = (*q)(Variable(Tensor::full(c, {2, 2}, v))).value().data<float>()[0];
    q->set_steps(q->steps() + 1);
    q->after_step();
    return y;
  };
  REQUIRE(run(1.0f) == 1.0f);
  REQUIRE(run(5.0f) == 5.0f);
  REQUIRE(scale_of(*q) == static_cast<float>(10 / std::sqrt(15.0)));
  REQUIRE(run(100.0f) == 15 * scale_of(*q));
  REQUIRE(scale_of(*q) == static_cast<float>(10 / std::sqrt(15.0)));
}

TEST_CASE("the first batch decides the sign where nothing else does, and the state keeps it") {
  const Context c;
  QuantSpec spec = spec_of(4, true);
  spec.auto_dtype = true;
  auto first = lsq(c, QuantType::kInput, spec), second = lsq(c, QuantType::kInput, spec);
  (*first)(Variable(tensor(c, {2}, {0, 3})));
  REQUIRE(first->empty_grid().qmax == 15);
  (*first)(Variable(tensor(c, {2}, {-1, 3})));
  REQUIRE(first->empty_grid().qmin == 0);
  second->load_state_dict(first->state_dict());
  REQUIRE(second->empty_grid().qmax == 15);
  REQUIRE(second->params() == first->params());
  // Told so, it stays signed; and a file of the other dtype does not fit.
  auto told = lsq(c, QuantType::kInput, spec_of(4, true));
  (*told)(Variable(tensor(c, {2}, {0, 3})));
  REQUIRE(told->empty_grid().qmin == -8);
  REQUIRE_THROWS_WITH(told->load_state_dict(first->state_dict()),
                      Catch::Contains("int4") && Catch::Contains("uint4"));
}

TEST_CASE("after a step scales are positive; NaN is an error") {
  const Context c;
  auto q = lsq(c, QuantType::kInput, spec_of(4, true));
  (*q)(Variable(tensor(c, {2}, {1, -2})));
  q->scale.mutable_value().fill(-0.5f);
  q->after_step();
  REQUIRE(scale_of(*q) == quant_math::kScaleFloor);
  q->scale.mutable_value().fill(NAN);
  REQUIRE_THROWS_WITH(q->after_step(), Catch::Contains("NaN"));
}

TEST_CASE("zeros say nothing: the next batch gives the scale; channels of zeros take another's") {
  const Context c;
  auto q = lsq(c, QuantType::kInput, spec_of(4, false));
  const Tensor zeros = Tensor::zeros(c, {2, 2});
  REQUIRE((*q)(Variable(zeros)).value().to_vector<float>() == zeros.to_vector<float>());
  REQUIRE_FALSE(q->initialised());
  (*q)(Variable(Tensor::full(c, {2, 2}, 3.0f)));
  REQUIRE(scale_of(*q) == static_cast<float>(6 / std::sqrt(15.0)));

  QuantSpec each = spec_of(4, true);
  each.per_channel = true;
  auto w = lsq(c, QuantType::kWeight, each, 3);
  (*w)(Variable(tensor(c, {3, 2}, {0, 0, 1, -1, 2, -4})));
  REQUIRE(scale_of(*w, 0) == scale_of(*w, 2));
  REQUIRE(scale_of(*w, 2) == static_cast<float>(6 / std::sqrt(7.0)));
}

TEST_CASE("constants, one element, huge and denormal values stay finite; bad ones are refused") {
  const Context c;
  for (const float v : {1.0f, -3.0f, 1e18f, 1e-42f}) {
    for (const bool symmetric : {true, false}) {
      CAPTURE(v, symmetric);
      auto q = lsq(c, QuantType::kInput, spec_of(4, true, symmetric));
      const Gradients g = gradients(*q, tensor(c, {1, 1}, {v}), {1.0f});
      REQUIRE((std::isfinite(g.y[0]) && std::isfinite(g.ds) && std::isfinite(g.dx[0])));
      REQUIRE(scale_of(*q) >= quant_math::kScaleFloor);
    }
  }
  auto q = lsq(c, QuantType::kInput, spec_of(4, true));
  REQUIRE_THROWS_WITH((*q)(Variable(Tensor::zeros(c, {0, 3}))), Catch::Contains("empty batch"));
  for (const float bad : {static_cast<float>(NAN), static_cast<float>(INFINITY)}) {
    auto fresh = lsq(c, QuantType::kInput, spec_of(4, true));
    REQUIRE_THROWS(((*fresh)(Variable(tensor(c, {2}, {1, bad})))));
    REQUIRE_FALSE(fresh->initialised());
    (*fresh)(Variable(tensor(c, {2}, {1, 2})));
    REQUIRE_THROWS(((*fresh)(Variable(tensor(c, {2}, {1, bad})))));  // later batches too
  }
}

TEST_CASE("ranges from elsewhere give the scale back") {
  const Context c;
  for (const bool symmetric : {true, false}) {
    auto q = lsq(c, QuantType::kInput, spec_of(4, true, symmetric)),
         other = lsq(c, QuantType::kInput, spec_of(4, true, symmetric));
    (*q)(Variable(spread(c, {4, 8}, -1.0f, 1.7f, 3)));
    other->set_ranges(q->ranges());
    // A product and a quotient more: the last bit may differ.
    REQUIRE(scale_of(*other) == Approx(scale_of(*q)).epsilon(2e-7));
    REQUIRE(other->params().zero_point == q->params().zero_point);
    // A training batch does not undo them (NNI's B7).
    const float before = scale_of(*other);
    (*other)(Variable(Tensor::full(c, {4, 8}, 50.0f)));
    REQUIRE(scale_of(*other) == before);
  }
}

TEST_CASE("a range below zero has no unsigned scale: refused, unless an offset holds it") {
  const Context c;
  auto q = lsq(c, QuantType::kInput, spec_of(4, false));
  q->set_ranges({{-1.0f, 3.0f}});
  REQUIRE(scale_of(*q) == 0.2f);
  for (const kernels::Range& range : {kernels::Range{-3, -1}, kernels::Range{-3, 0}}) {
    REQUIRE_THROWS_WITH(q->set_ranges({range}),
                        Catch::Contains("unsigned") && Catch::Contains("-3 .. "));
    REQUIRE(scale_of(*q) == 0.2f);
  }
  auto is_signed = lsq(c, QuantType::kInput, spec_of(4, true)),
       plus = lsq(c, QuantType::kInput, spec_of(4, false, false));
  for (const auto& other : {is_signed, plus}) {
    other->set_ranges({{-3.0f, -1.0f}});
    REQUIRE(other->ranges()[0].low == Approx(-3));
  }
}

TEST_CASE("LSQ+: integer zero points, and gradients of y = s (clamp(rint(x / s) + z) - z)") {
  const Context c;
  auto q = lsq(c, QuantType::kInput, spec_of(3, false, false));
  q->set_ranges({{-1.0f, 2.5f}});  // s = 0.5, offset = -1: z = 2, codes 0 .. 7 are -1 .. 2.5
  REQUIRE(q->params() == QuantParams{0.5f, 2, 0, 7});
  const std::vector<float> x = {-1.6f, -1.0f, -0.9f, 0.0f, 0.6f, 2.4f, 2.5f, 3.0f};
  const double factor = 1 / std::sqrt(8.0 * 7);
  for (size_t i = 0; i < x.size(); ++i) {
    CAPTURE(x[i]);
    std::vector<float> up(8, 0.0f);
    up[i] = 2.0f;
    const Gradients g = gradients(*q, tensor(c, {1, 8}, x), up);
    const bool low = x[i] <= -1.0f, high = x[i] >= 2.5f;
    const double v = static_cast<double>(x[i]) / 0.5;
    REQUIRE(g.dx[i] == (low || high ? 0.0f : 2.0f));
    // Clipped, y = s qmin + offset and s qmax + offset.
    const double share = low ? 0 : high ? 7 : std::nearbyint(v) - v;
    REQUIRE(static_cast<double>(g.ds) == Approx(2 * factor * share).margin(1e-7));
    REQUIRE(static_cast<double>(g.doffset) == Approx(low || high ? 2 * factor : 0).margin(1e-7));
  }
}

TEST_CASE("LSQ+ keeps its offset where zero has a code") {
  const Context c;
  auto q = lsq(c, QuantType::kInput, spec_of(3, false, false));
  q->set_ranges({{-1.0f, 2.5f}});
  q->offset.mutable_value().fill(0.7f);
  q->after_step();
  REQUIRE(q->offset.value().data<float>()[0] == 0.0f);
  q->offset.mutable_value().fill(-9.0f);
  q->after_step();
  REQUIRE(q->offset.value().data<float>()[0] == -3.5f);
  REQUIRE(q->params().zero_point == 7);
}

namespace {

double mse(const Tensor& x, const quant_math::Grid& g) {
  double sum = 0;
  for (const float v : x.to_vector<float>()) {
    const double e = static_cast<double>(v) -
                     static_cast<double>(quant_math::dequantize(quant_math::quantize(v, g), g));
    sum += e * e;
  }
  return sum / static_cast<double>(x.numel());
}

}  // namespace

TEST_CASE("LSQ+ starts with nearly the smallest squared error") {
  const Context c;
  for (const int bits : {2, 4, 8}) {
    for (const float low : {-1.0f, 0.0f, -0.1f}) {
      CAPTURE(bits, low);
      Tensor x = spread(c, {64, 32}, low, 1.0f, 3);
      for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] *= std::fabs(x.data<float>()[i]);
      x.data<float>()[5] = 6.0f;  // an outlier
      const quant_math::Grid codes{1.0f, 0, 0, (1 << bits) - 1};
      const AffineStart start = affine_start(x, codes);
      const auto grid_of = [&](float s, float beta) {
        return quant_math::lsq_plus_grid(s, beta, codes.qmin, codes.qmax);
      };
      const double found = mse(x, grid_of(start.scale, start.offset));
      // A plain search over scales and every zero point.
      double best = INFINITY;
      for (int z = 0; z <= codes.qmax; z += bits == 8 ? 5 : 1) {
        for (int k = 1; k <= 60; ++k) {
          const float s = 0.12f * static_cast<float>(k) / static_cast<float>(codes.qmax);
          best = std::min(best, mse(x, {s, z, 0, codes.qmax}));
        }
      }
      REQUIRE(found <= 1.1 * best);  // both searches have steps
    }
  }
}

TEST_CASE("LSQ+ weights start from mean +- 3 deviations") {
  const Context c;
  auto q =
      make<LsqQuantize>(c, FakeQuantizeArgs{QuantType::kWeight, spec_of(4, true), 1, false}, true);
  const Tensor w = tensor(c, {4}, {1, 3, 1, 3});  // mean 2, deviation 1
  (*q)(Variable(w));
  REQUIRE(scale_of(*q) == 5.0f / 8);
}
