// Winograd's bodies of conv.h against the plain reference, and where conv.h takes them.
#include <catch2/catch.hpp>

#include "kernels/conv_bodies.h"
#include "kernels/conv_winograd.h"
#include "kernels/elementwise.h"
#include "test/catch_skip.h"
#include "test/kernels/conv_cases.h"

namespace halftone {
namespace {

using kernels::ConvBodies;
using namespace test;

// The bound that float layers promise, of the largest magnitude. With normal operands the error of
// F(4x4, 3x3) grows as the square root of the input channels: 1.4e-6 for 16, 2.2e-6 for 64, 5e-6
// for 512 (conv_winograd.h).
constexpr double kTolerance = 1e-5;

// 3 x 3, stride 1; names as in ConvCase.
ConvCase same_size(int64_t n, int64_t h, int64_t w, int64_t c, int64_t o) {
  return {n, h, w, c, o, 3, 3, {1, 1, 1, 1, 1, 1, 1}};
}
ConvCase padded(int64_t n, int64_t h, int64_t w, int64_t c, int64_t o, int pad_h, int pad_w) {
  return {n, h, w, c, o, 3, 3, {1, 1, pad_h, pad_w, 1, 1, 1}};
}

std::vector<ConvCase> winograd_cases() {
  return {same_size(2, 32, 32, 16, 16),    // ResNet-20's three
          same_size(3, 16, 16, 32, 32),    //
          same_size(19, 8, 8, 64, 64),     // a last block of tiles that is partial
          same_size(1, 4, 4, 512, 64),     // BNN VGG's last
          same_size(1, 8, 8, 128, 96),     //
          same_size(1, 1, 1, 16, 16),      // one pixel
          same_size(2, 4, 4, 16, 48),      // one tile; three vectors of outputs
          same_size(1, 5, 7, 48, 16),      // partial tiles on both axes
          same_size(3, 7, 7, 24, 40),      // whole vectors of 8 channels alone
          same_size(1, 3, 37, 8, 16),      // wider than a block's rows
          same_size(2, 10, 6, 16, 32),     // two rows, two columns in the last tiles
          padded(2, 9, 11, 32, 16, 0, 0),  // no padding: the gradient has 2
          padded(1, 3, 3, 16, 16, 0, 0),   // one output
          padded(2, 8, 5, 16, 32, 0, 1),   // unequal
          padded(2, 5, 8, 32, 16, 1, 0),   //
          padded(1, 6, 6, 16, 16, 2, 2),   // the gradient has none
          padded(1, 4, 5, 16, 16, 3, 5)};  // outputs in the padding alone
}

struct Operands {
  Operands(const Context& context, const ConvCase& c)
      : x(random_values(context, c.x(), 1, false)),
        w(random_values(context, c.weight(), 2, false)),
        bias(random_values(context, {c.o}, 3, false)),
        dy(random_values(context, c.y(), 4, false)) {}
  Tensor x, w, bias, dy;
};

kernels::ConvGeometry geometry(const ConvCase& c) {
  return kernels::conv_geometry("test", c.x(), c.weight(), c.options);
}

// y, y without bias, dx, dw, dw without dbias, dbias, and dx added to x.
std::vector<Tensor> run(const ConvBodies& bodies, const Context& context, const ConvCase& c) {
  const Operands in(context, c);
  const kernels::ConvGeometry g = geometry(c);
  std::vector<Tensor> out = {unwritten(context, c.y()),
                             unwritten(context, c.y()),
                             unwritten(context, c.x()),
                             unwritten(context, c.weight()),
                             unwritten(context, c.weight()),
                             unwritten(context, {c.o}),
                             in.x.clone()};
  bodies.forward(g, in.x, in.w, &in.bias, out[0]);
  bodies.forward(g, in.x, in.w, nullptr, out[1]);
  bodies.backward_data(g, in.dy, in.w, out[2]);
  bodies.backward_weight(g, in.x, in.dy, out[3], &out[5]);
  bodies.backward_weight(g, in.x, in.dy, out[4], nullptr);
  bodies.add_backward_data(g, in.dy, in.w, out[6]);
  return out;
}

std::vector<Tensor> reference(const Context& context, const ConvCase& c) {
  const Operands in(context, c);
  std::vector<Tensor> out = {unwritten(context, c.y()),      unwritten(context, c.y()),
                             unwritten(context, c.x()),      unwritten(context, c.weight()),
                             unwritten(context, c.weight()), unwritten(context, {c.o})};
  kernels::reference::conv2d(in.x, in.w, &in.bias, c.options, out[0]);
  kernels::reference::conv2d(in.x, in.w, nullptr, c.options, out[1]);
  kernels::reference::conv2d_backward_data(in.dy, in.w, c.options, out[2]);
  kernels::reference::conv2d_backward_weight(in.x, in.dy, c.options, out[3], &out[5]);
  out[4] = out[3];
  return out;
}

void check_case(const ConvBodies& bodies, const ConvCase& c) {
  const Context context = context_with(1);
  const std::vector<Tensor> want = reference(context, c), one = run(bodies, context, c);
  for (size_t i = 0; i < want.size(); ++i) {
    INFO("result " << i << " of y, y without bias, dx, dw, dw without dbias, dbias");
    CHECK(relative_error(one[i], want[i]) < kTolerance);
  }
  Tensor separate = one[2].clone();
  kernels::accumulate(Operands(context, c).x, separate);
  CHECK(same_values(one[6], separate));
  for (const int threads : {2, 3}) {
    INFO(threads << " threads");
    const std::vector<Tensor> many = run(bodies, context_with(threads), c);
    for (size_t i = 0; i < many.size(); ++i) CHECK(same_values(many[i], one[i]));
  }
}

void check_body(const ConvBodies& bodies, bool (*takes)(const kernels::ConvGeometry&)) {
  int taken = 0;
  for (const ConvCase& c : winograd_cases()) {
    if (!takes(geometry(c))) continue;
    INFO(c.str());
    check_case(bodies, c);
    ++taken;
  }
  CHECK(taken >= 15);
}

// An image alone has the bits that it has in a batch, wherever its tiles fall in a block.
void check_slices(const ConvBodies& bodies) {
  const Context context = context_with(2);
  const ConvCase batch = same_size(9, 12, 12, 16, 32), single = same_size(1, 12, 12, 16, 32);
  const Operands in(context, batch);
  Tensor whole = unwritten(context, batch.y()), part = unwritten(context, single.y());
  bodies.forward(geometry(batch), in.x, in.w, &in.bias, whole);
  for (int64_t n = 0; n < batch.n; ++n) {
    bodies.forward(geometry(single), in.x.slice(n, n + 1), in.w, &in.bias, part);
    CHECK(same_values(part, whole.slice(n, n + 1)));
  }
}

}  // namespace

TEST_CASE("Winograd: the body for AVX-512") {
  const ConvBodies* bodies = kernels::winograd_conv_avx512();
  if (bodies == nullptr) HALFTONE_SKIP("no AVX-512 here");
  check_body(*bodies, kernels::winograd_avx512_takes);
  check_slices(*bodies);
}

TEST_CASE("Winograd: the body for AVX2") {
  const ConvBodies* bodies = kernels::winograd_conv_avx2();
  if (bodies == nullptr) HALFTONE_SKIP("no AVX2 here");
  check_body(*bodies, kernels::winograd_avx2_takes);
  check_slices(*bodies);
}

TEST_CASE("Winograd: shapes that it does not take") {
  CHECK(kernels::winograd_takes(geometry(same_size(1, 8, 8, 16, 16)), 16));
  CHECK_FALSE(kernels::winograd_takes(geometry(same_size(1, 8, 8, 3, 16)), 8));
  CHECK_FALSE(kernels::winograd_takes(geometry(same_size(1, 8, 8, 16, 20)), 8));
  CHECK_FALSE(kernels::winograd_takes(geometry(same_size(1, 8, 8, 24, 16)), 16));
  for (const ConvCase& c :
       {ConvCase{1, 8, 8, 16, 16, 3, 3, {2, 1, 1, 1, 1, 1, 1}},
        ConvCase{1, 8, 8, 16, 16, 3, 3, {1, 2, 1, 1, 1, 1, 1}},
        ConvCase{1, 8, 8, 16, 16, 3, 3, {1, 1, 1, 1, 2, 1, 1}},
        ConvCase{1, 8, 8, 16, 16, 3, 3, {1, 1, 1, 1, 1, 2, 1}},
        ConvCase{1, 8, 8, 32, 32, 3, 3, {1, 1, 1, 1, 1, 1, 2}}, ConvCase{1, 8, 8, 16, 16, 5, 3, {}},
        ConvCase{1, 8, 8, 16, 16, 3, 1, {}}}) {
    INFO(c.str());
    CHECK_FALSE(kernels::winograd_takes(geometry(c), 16));
  }
}

// Codes of 8 bits: 32 * 9 products of up to 255 * 127 stay below 2^24 together.
TEST_CASE("Winograd: conv2d takes it when asked for the fastest algorithm alone") {
  const Context context = context_with(2);
  const ConvCase c = same_size(2, 16, 16, 32, 32);
  const Philox random{11, 0};
  std::vector<float> codes(c.x().numel()), weights(c.weight().numel());
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<float>(random.below(i, 256));
  for (size_t i = 0; i < weights.size(); ++i)
    weights[i] = static_cast<float>(random.below(codes.size() + i, 255)) - 127.0f;
  const Tensor x = Tensor::from(context, c.x(), codes),
               w = Tensor::from(context, c.weight(), weights);
  Tensor want = unwritten(context, c.y()), direct = want.clone(), fast = want.clone();
  kernels::reference::conv2d(x, w, nullptr, c.options, want);
  kernels::conv2d(x, w, nullptr, c.options, direct);
  CHECK(same_values(direct, want));
  kernels::conv2d(x, w, nullptr, c.options, fast, ConvAlgorithm::kAuto);
  CHECK(relative_error(fast, want) < kTolerance);
  if (kernels::winograd_conv_avx2() != nullptr) CHECK_FALSE(same_values(fast, want));
}

}  // namespace halftone
