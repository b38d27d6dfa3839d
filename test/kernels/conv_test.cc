// Every body of conv.h against the plain reference.
#include <catch2/catch.hpp>

#include "kernels/conv_bodies.h"
#include "kernels/conv_direct.h"
#include "kernels/elementwise.h"
#include "test/catch_skip.h"
#include "test/kernels/conv_cases.h"

namespace halftone {
namespace {

using kernels::ConvBodies;
using namespace test;

// float32 sums of up to 128 * 9 products (or N * OH * OW, in the weight gradient) in another order
// than the oracle's doubles: the error grows as the square root of the length times 2^-24.
constexpr double kTolerance = 5e-6;

struct Operands {
  Operands(const Context& context, const ConvCase& c, bool integers)
      : x(random_values(context, c.x(), 1, integers)),
        w(random_values(context, c.weight(), 2, integers)),
        bias(random_values(context, {c.o}, 3, integers)),
        dy(random_values(context, c.y(), 4, integers)) {}
  Tensor x, w, bias, dy;
};

struct Results {
  Results(const Context& context, const ConvCase& c)
      : y(unwritten(context, c.y())),
        y_plain(unwritten(context, c.y())),
        dx(unwritten(context, c.x())),
        dw(unwritten(context, c.weight())),
        dw_plain(unwritten(context, c.weight())),
        dbias(unwritten(context, {c.o})) {}
  std::vector<Tensor> all() const { return {y, y_plain, dx, dw, dw_plain, dbias}; }
  Tensor y, y_plain, dx, dw, dw_plain, dbias;
};

Results reference_results(const Context& context, const ConvCase& c, const Operands& in) {
  namespace reference = kernels::reference;
  Results out(context, c);
  reference::conv2d(in.x, in.w, &in.bias, c.options, out.y);
  reference::conv2d(in.x, in.w, nullptr, c.options, out.y_plain);
  reference::conv2d_backward_data(in.dy, in.w, c.options, out.dx);
  reference::conv2d_backward_weight(in.x, in.dy, c.options, out.dw, &out.dbias);
  reference::conv2d_backward_weight(in.x, in.dy, c.options, out.dw_plain, nullptr);
  return out;
}

struct Expected {
  ConvCase c;
  bool integers;
  Operands in;
  Results out;
};

// Operands and the oracle's answers, made once for all bodies.
const std::vector<Expected>& expected() {
  static const std::vector<Expected> all = [] {
    const Context context = context_with(1);
    std::vector<Expected> made;
    for (const ConvCase& c : conv_cases()) {
      for (const bool integers : {false, true}) {
        const Operands in(context, c, integers);
        made.push_back({c, integers, in, reference_results(context, c, in)});
      }
    }
    return made;
  }();
  return all;
}

Results run(const ConvBodies& bodies, const Context& context, const ConvCase& c,
            const Operands& in) {
  const auto g = kernels::conv_geometry("test", c.x(), c.weight(), c.options);
  Results out(context, c);
  bodies.forward(g, in.x, in.w, &in.bias, out.y);
  bodies.forward(g, in.x, in.w, nullptr, out.y_plain);
  bodies.backward_data(g, in.dy, in.w, out.dx);
  bodies.backward_weight(g, in.x, in.dy, out.dw, &out.dbias);
  bodies.backward_weight(g, in.x, in.dy, out.dw_plain, nullptr);
  return out;
}

// The public entry points as a table of bodies.
const ConvBodies& chosen() {
  static const ConvBodies bodies{
      [](const kernels::ConvGeometry& g, const Tensor& x, const Tensor& w, const Tensor* bias,
         Tensor& y) { kernels::conv2d(x, w, bias, g.options, y); },
      [](const kernels::ConvGeometry& g, const Tensor& dy, const Tensor& w, Tensor& dx) {
        kernels::conv2d_backward_data(dy, w, g.options, dx);
      },
      [](const kernels::ConvGeometry& g, const Tensor& x, const Tensor& dy, Tensor& dw,
         Tensor* dbias) { kernels::conv2d_backward_weight(x, dy, g.options, dw, dbias); },
      [](const kernels::ConvGeometry& g, const Tensor& dy, const Tensor& w, Tensor& dx) {
        kernels::conv2d_add_backward_data(dy, w, g.options, dx);
      }};
  return bodies;
}

using Takes = bool (*)(const kernels::ConvGeometry&);
bool all(const kernels::ConvGeometry&) { return true; }

// Among the results: dx, dw, dw without dbias.
bool is_winograd_gradient(size_t i) { return i >= 2 && i <= 4; }

void check_body(const ConvBodies& bodies, int threads, Takes takes = all,
                bool exact_gradients = true) {
  const Context context = context_with(threads);
  for (const Expected& e : expected()) {
    if (!takes(kernels::conv_geometry("test", e.c.x(), e.c.weight(), e.c.options))) continue;
    INFO(e.c.str() << ", " << threads << " threads");
    const Operands in(context, e.c, e.integers);
    const auto got = run(bodies, context, e.c, in).all();
    const auto again = run(bodies, context, e.c, in).all();
    const auto want = e.out.all();
    for (size_t i = 0; i < got.size(); ++i) {
      INFO("result " << i << " of y, y without bias, dx, dw, dw without dbias, dbias");
      CHECK(same_values(got[i], again[i]));
      if (e.integers && (exact_gradients || !is_winograd_gradient(i)))
        CHECK(same_values(got[i], want[i]));
      CHECK(relative_error(got[i], want[i]) < kTolerance);
    }
  }
}

void check_adding(const ConvBodies& bodies, int threads, Takes takes = all) {
  const Context context = context_with(threads);
  for (const Expected& e : expected()) {
    const auto g = kernels::conv_geometry("test", e.c.x(), e.c.weight(), e.c.options);
    if (!takes(g)) continue;
    INFO(e.c.str() << ", " << threads << " threads");
    const Operands in(context, e.c, e.integers);
    Tensor added = in.x.clone(), separate = unwritten(context, e.c.x());
    bodies.add_backward_data(g, in.dy, in.w, added);
    bodies.backward_data(g, in.dy, in.w, separate);
    kernels::accumulate(in.x, separate);
    CHECK(same_values(added, separate));
  }
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("convolution: the portable body, exact on integers, same bits twice") {
  check_body(kernels::portable_conv(), 1);
  check_body(kernels::portable_conv(), 2);
}

TEST_CASE("convolution: the oneDNN body, exact on integers, same bits twice") {
  const ConvBodies* bodies = kernels::onednn_conv();
  if (bodies == nullptr) HALFTONE_SKIP("built without oneDNN");
  check_body(*bodies, 1);
  check_body(*bodies, 2);
}

TEST_CASE("convolution: the direct body for AVX2, exact on integers, same bits twice") {
  const ConvBodies* bodies = kernels::direct_conv_avx2();
  if (bodies == nullptr) HALFTONE_SKIP("no AVX2 here");
  check_body(*bodies, 1, kernels::direct_conv_takes);
  check_body(*bodies, 2, kernels::direct_conv_takes);
}

TEST_CASE("convolution: the direct body for AVX-512, exact on integers, same bits twice") {
  const ConvBodies* bodies = kernels::direct_conv_avx512();
  if (bodies == nullptr) HALFTONE_SKIP("no AVX-512 here");
  check_body(*bodies, 1, kernels::direct_conv_takes);
  check_body(*bodies, 2, kernels::direct_conv_takes);
}

// Its gradients may be Winograd's.
TEST_CASE("convolution: the body chosen by shape, exact on integers, same bits twice") {
  check_body(chosen(), 1, all, false);
  check_body(chosen(), 2, all, false);
}

TEST_CASE("convolution: adding the data gradient has the bits of adding it afterwards") {
  check_adding(chosen(), 1);
  check_adding(chosen(), 2);
  // Few channels have another order of summation where the gradient is not added.
  const auto takes = [](const kernels::ConvGeometry& g) {
    return kernels::direct_conv_takes(g) && !kernels::scatter_data_takes(g);
  };
  for (const ConvBodies* bodies : {kernels::direct_conv_avx2(), kernels::direct_conv_avx512()}) {
    if (bodies != nullptr) check_adding(*bodies, 2, takes);
  }
}

TEST_CASE("convolution: an empty batch") {
  const Context context = context_with(2);
  const ConvCase c{0, 6, 6, 3, 4, 3, 3, {}};
  const Operands in(context, c, false);
  Results out(context, c);
  kernels::conv2d(in.x, in.w, &in.bias, c.options, out.y);
  kernels::conv2d_backward_data(in.dy, in.w, c.options, out.dx);
  kernels::conv2d_backward_weight(in.x, in.dy, c.options, out.dw, &out.dbias);
  CHECK(out.dw.to_vector<float>() == std::vector<float>(out.dw.numel(), 0.0f));
  CHECK(out.dbias.to_vector<float>() == std::vector<float>(4, 0.0f));
}

TEST_CASE("convolution: shape errors speak NCHW and OIHW") {
  const Shape x{2, 28, 30, 3}, w{8, 5, 3, 3};
  const auto error = [](const Shape& xs, const Shape& ws, const Conv2dOptions& o) {
    return message_of([&] { conv2d_shape(xs, ws, o); });
  };
  CHECK_THAT(error({2, 28, 30, 4}, w, {}), Catch::Contains("3 channels") &&
                                               Catch::Contains("[8, 3, 5, 3]") &&
                                               Catch::Contains("[2, 4, 28, 30]"));
  CHECK_THAT(error(x, {8, 5, 3, 1}, {1, 1, 0, 0, 1, 1, 3}), Catch::Contains("3 groups"));
  CHECK_THAT(error(x, {8, 29, 3, 3}, {}),
             Catch::Contains("28 x 30") && Catch::Contains("[8, 3, 29, 3]"));
  CHECK_THAT(error(x, w, {0, 1}), Catch::Contains("stride"));
  CHECK_THAT(error(x, w, {1, 1, -1, 0}), Catch::Contains("padding"));
  CHECK_THAT(error(x, w, {1, 1, 0, 0, 0, 1}), Catch::Contains("dilation"));
  CHECK_THAT(error(x, w, {1, 1, 0, 0, 1, 1, 0}), Catch::Contains("group"));
  CHECK_THAT(error({28, 30, 3}, w, {}), Catch::Contains("4 axes (N, C, H, W)"));

  const Context context;
  const Tensor xt = Tensor::zeros(context, x), wt = Tensor::zeros(context, w);
  Tensor y = Tensor::zeros(context, {2, 24, 27, 8});
  CHECK_THAT(message_of([&] { kernels::conv2d(xt, wt, nullptr, {}, y); }),
             Catch::Contains("[2, 8, 24, 28]") && Catch::Contains("[2, 8, 24, 27]"));
}

TEST_CASE("a convolution of anything but float32 is refused") {
  const Context context;
  const Tensor x = Tensor::zeros(context, {1, 4, 4, 16}),
               w = Tensor::zeros(context, {16, 3, 3, 16});
  const Tensor codes = Tensor::zeros(context, {1, 4, 4, 16}, DType::kUInt8);
  Tensor y = Tensor::zeros(context, {1, 2, 2, 16}), dx = x.clone(), dw = w.clone();
  const Tensor half = Tensor::zeros(context, {1, 2, 2, 16}, DType::kBFloat16);
  REQUIRE_THROWS_WITH(kernels::conv2d(codes, w, nullptr, {}, y), Catch::Contains("float32"));
  REQUIRE_THROWS_WITH(kernels::conv2d_backward_data(half, w, {}, dx), Catch::Contains("float32"));
  REQUIRE_THROWS_WITH(kernels::conv2d_backward_weight(x, half, {}, dw, nullptr),
                      Catch::Contains("float32"));
}

}  // namespace halftone
