// Every body of matmul.h against the plain reference.
#include <catch2/catch.hpp>

#include "kernels/matmul.h"
#include "kernels/matmul_bodies.h"
#include "test/kernels/conv_cases.h"

namespace halftone {
namespace {

using namespace test;

// float32 sums of up to 1030 products in another order than the oracle's doubles.
constexpr double kTolerance = 5e-6;

struct Extents {
  int64_t m, n, k;
};

// LeNet-5's linear layers, then odd and degenerate extents.
std::vector<Extents> extents() {
  return {{64, 120, 400}, {64, 84, 120}, {64, 10, 84}, {64, 400, 120}, {120, 400, 64},
          {10, 84, 64},   {1, 1, 1},     {1, 17, 5},   {33, 1, 128},   {3, 47, 16},
          {65, 33, 130},  {130, 16, 3},  {7, 300, 31}, {70, 129, 1030}};
}

void portable(const Tensor& a, bool ta, const Tensor& b, bool tb, float beta, Tensor& c) {
  const int64_t k = ta ? a.dim(0) : a.dim(1);
  kernels::portable_matmul(a.context(), {c.dim(0), c.dim(1), k, ta, tb, beta}, a.data<float>(),
                           b.data<float>(), c.data<float>());
}

using Product = void (*)(const Tensor&, bool, const Tensor&, bool, float, Tensor&);

void check_product(Product product, const Context& context, const Extents& e, bool ta, bool tb,
                   float beta, bool integers) {
  const Shape as = ta ? Shape{e.k, e.m} : Shape{e.m, e.k};
  const Shape bs = tb ? Shape{e.n, e.k} : Shape{e.k, e.n};
  const Tensor a = random_values(context, as, 1, integers);
  const Tensor b = random_values(context, bs, 2, integers);
  // With beta 0 the old contents must not count, NaN or not.
  const Tensor start = beta == 0.0f ? unwritten(context, {e.m, e.n})
                                    : random_values(context, {e.m, e.n}, 3, integers);
  Tensor got = start.clone(), again = start.clone(), want = start.clone();
  product(a, ta, b, tb, beta, got);
  product(a, ta, b, tb, beta, again);
  kernels::reference::matmul(a, ta, b, tb, beta, want);
  CHECK(same_values(got, again));
  if (integers) CHECK(same_values(got, want));
  CHECK(relative_error(got, want) < kTolerance);
}

void check_products(Product product) {
  for (const int threads : {1, 2}) {
    const Context context = context_with(threads);
    for (const Extents& e : extents()) {
      for (int i = 0; i < 16; ++i) {
        const bool ta = i & 1, tb = i & 2, integers = i & 8;
        const float beta = i & 4 ? 1.0f : 0.0f;
        INFO("m " << e.m << " n " << e.n << " k " << e.k << " transposed " << ta << tb << " beta "
                  << beta << " threads " << threads);
        check_product(product, context, e, ta, tb, beta, integers);
      }
    }
  }
}

// y, dx, dw and dbias of a linear layer against reference products.
void check_linear(const Context& context, int64_t n, int64_t in, int64_t out) {
  INFO("linear " << n << " x " << in << " -> " << out);
  const Tensor x = random_values(context, {n, in}, 1, true);
  const Tensor w = random_values(context, {out, in}, 2, true);
  const Tensor bias = random_values(context, {out}, 3, true);
  const Tensor dy = random_values(context, {n, out}, 4, true);
  const Tensor ones = Tensor::full(context, {n, 1}, 1.0f);
  Tensor y = unwritten(context, {n, out}), dx = unwritten(context, {n, in}), want_dx = dx.clone();
  Tensor dw = unwritten(context, {out, in}), want_dw = dw.clone();
  Tensor db = unwritten(context, {out}), want_db = unwritten(context, {1, out});
  Tensor want_y = unwritten(context, {n, out});
  kernels::linear(x, w, &bias, y);
  kernels::linear_backward_data(dy, w, dx);
  kernels::linear_backward_weight(x, dy, dw, &db);
  kernels::reference::matmul(ones, false, bias.reshape({1, out}), false, 0.0f, want_y);
  kernels::reference::matmul(x, false, w, true, 1.0f, want_y);
  kernels::reference::matmul(dy, false, w, false, 0.0f, want_dx);
  kernels::reference::matmul(dy, true, x, false, 0.0f, want_dw);
  kernels::reference::matmul(ones, true, dy, false, 0.0f, want_db);
  CHECK(same_values(y, want_y));
  CHECK(same_values(dx, want_dx));
  CHECK(same_values(dw, want_dw));
  CHECK(same_values(db, want_db.reshape({out})));

  kernels::linear(x, w, nullptr, y);
  kernels::reference::matmul(x, false, w, true, 0.0f, want_y);
  CHECK(same_values(y, want_y));
}

}  // namespace

TEST_CASE("matmul: the portable body, exact on integers, same bits twice") {
  check_products(portable);
}

TEST_CASE("matmul: the body chosen by shape, exact on integers, same bits twice") {
  check_products(kernels::matmul);
}

TEST_CASE("matmul flattens the leading axes of a") {
  const Context context = context_with(1);
  const Tensor a = Tensor::from<float>(context, {2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  const Tensor b = Tensor::from<float>(context, {2, 1}, {1, 10});
  Tensor c = unwritten(context, {2, 2, 1});
  kernels::matmul(a, false, b, false, 0.0f, c);
  CHECK(c.to_vector<float>() == std::vector<float>{21, 43, 65, 87});
}

TEST_CASE("linear: forward and both gradients, exact on integers") {
  for (const int threads : {1, 2}) {
    const Context context = context_with(threads);
    for (const Extents& e : {Extents{64, 120, 400}, Extents{64, 84, 120}, Extents{64, 10, 84},
                             Extents{1, 3, 5}, Extents{7, 1, 1}, Extents{600, 17, 33}}) {
      check_linear(context, e.m, e.k, e.n);
    }
  }
}

TEST_CASE("linear: an empty batch has zero gradients") {
  const Context context = context_with(2);
  const Tensor x = Tensor::zeros(context, {0, 3}), dy = Tensor::zeros(context, {0, 2});
  Tensor dw = unwritten(context, {2, 3}), db = unwritten(context, {2});
  Tensor y = Tensor::zeros(context, {0, 2});
  kernels::linear(x, dw, nullptr, y);
  kernels::linear_backward_weight(x, dy, dw, &db);
  CHECK(dw.to_vector<float>() == std::vector<float>(6, 0.0f));
  CHECK(db.to_vector<float>() == std::vector<float>(2, 0.0f));
}

TEST_CASE("matmul and linear name the shapes that do not fit") {
  const Context context = context_with(1);
  const Tensor a = Tensor::zeros(context, {4, 3}), b = Tensor::zeros(context, {4, 5});
  const Tensor bias = Tensor::zeros(context, {6});
  Tensor c = Tensor::zeros(context, {4, 5});
  CHECK_THROWS_WITH(kernels::matmul(a, false, b, false, 0.0f, c),
                    Catch::Contains("a [4, 3]") && Catch::Contains("b [4, 5]"));
  CHECK_THROWS_WITH(kernels::linear(a, b, nullptr, c),
                    Catch::Contains("[N, 5]") && Catch::Contains("[4, 3]"));
  CHECK_THROWS_WITH(kernels::linear(c, b, &bias, c), Catch::Contains("an output of shape [4, 4]"));
}

}  // namespace halftone
