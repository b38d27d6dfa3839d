// Every kernel with a body on devices, through its public interface: the results of the CPU. What
// the bodies compute, case by case, is tested in //test/kernels/cuda.
#include <catch2/catch.hpp>

#include "kernels/activation.h"
#include "kernels/batch_norm.h"
#include "kernels/binary.h"
#include "kernels/column_sums.h"
#include "kernels/conv.h"
#include "kernels/device.h"
#include "kernels/dorefa.h"
#include "kernels/elementwise.h"
#include "kernels/loss.h"
#include "kernels/lsq.h"
#include "kernels/matmul.h"
#include "kernels/moments.h"
#include "kernels/optimizer.h"
#include "kernels/pad.h"
#include "kernels/pool.h"
#include "kernels/quantize.h"
#include "test/device/both.h"
#include "test/device/device_under_test.h"

using namespace halftone;
using namespace halftone::kernels;
using halftone::test::Both;

namespace {

// Sums of up to 72 products of values near 1, in another order and maybe fused.
constexpr float kProducts = 1e-4f;

using Tensors = std::vector<Tensor>;
const Shape kShape{3, 4, 5, 6};
constexpr float kSums = 2e-5f;  // sums of some 60 values near 1, and their rounding

}  // namespace

TEST_CASE("elementwise kernels and layouts through their interface") {
  NEED_DEVICE();
  Both b;
  const Tensor x = b.in(kShape, 1), z = b.in(kShape, 2);
  b.check([](Tensors& t) { add(t[0], t[1], t[2]); }, {x, z, b.out(kShape)});
  b.check([](Tensors& t) { accumulate(t[0], t[1]); }, {x, z.clone()});
  b.check([](Tensors& t) { mul(t[0], t[1], t[2]); }, {x, z, b.out(kShape)});
  b.check([](Tensors& t) { scale(t[0], 0.7f, t[1]); }, {x, b.out(kShape)});
  b.check([](Tensors& t) { nhwc_to_nchw(t[0], t[1]); }, {x, b.out({3, 6, 4, 5})});
  b.check([](Tensors& t) { nchw_to_nhwc(t[0], t[1]); }, {x, b.out({3, 5, 6, 4})});
  b.check([](Tensors& t) { concat_channels({t[0], t[1]}, t[2]); }, {x, z, b.out({3, 4, 5, 12})});
  b.check(
      [](Tensors& t) {
        Tensors parts = {t[1], t[2]};
        split_channels(t[0], parts);
      },
      {x, b.out({3, 4, 5, 2}), b.out({3, 4, 5, 4})});
  b.check([](Tensors& t) { subsample_pad(t[0], 2, 1, t[1], 4); }, {x, b.out({3, 2, 3, 9})});
  b.check([](Tensors& t) { subsample_pad_backward(t[0], 2, 1, t[1]); },
          {b.in({3, 2, 3, 9}, 3), b.out(kShape)});
  b.check([](Tensors& t) { pad_images(t[0], -1.0f, t[1]); }, {x, b.out({3, 6, 9, 6})});
  b.check([](Tensors& t) { pad_images_backward(t[0], t[1]); },
          {b.in({3, 6, 9, 6}, 4), b.out(kShape)});
  b.check([](Tensors& t) { column_sums(t[0], t[1]); }, {x, b.out({6})}, kSums);
  REQUIRE(sum(b.there(x)) == Approx(sum(x)));
  REQUIRE(all_finite(b.there(x)));
  REQUIRE_FALSE(all_finite(Tensor::full(b.device(), {3}, INFINITY)));
}

TEST_CASE("activations, dropout, batch norm and pooling through their interface") {
  NEED_DEVICE();
  Both b;
  const Tensor x = b.in(kShape, 1), dy = b.in(kShape, 2), addend = b.in(kShape, 3);
  ActivationOptions relu;
  relu.kind = Activation::kReLU;
  b.check([&](Tensors& t) { activation(t[0], relu, t[1]); }, {x, b.out(kShape)});
  b.check([&](Tensors& t) { add_activation(t[0], t[1], relu, t[2]); }, {x, dy, b.out(kShape)});
  b.check([&](Tensors& t) { activation_backward(t[0], t[1], relu, t[2]); }, {dy, x, b.out(kShape)});
  b.check([](Tensors& t) { dropout(t[0], 0.3f, Philox{1, 2}, t[1]); }, {x, b.out(kShape)});

  const Tensor mean = b.in({6}, 4), weight = b.in({6}, 5), bias = b.in({6}, 6);
  const Tensor variance = Tensor::full(b.home(), {6}, 1.3f);
  b.check([](Tensors& t) { batch_norm_statistics(t[0], t[1], t[2]); }, {x, b.out({6}), b.out({6})},
          kSums);
  b.check([](Tensors& t) { batch_norm_update(t[0], t[1], 60, 0.1f, t[2], t[3]); },
          {mean, variance, b.in({6}, 7), b.in({6}, 8)});
  const auto norm = [&](const Tensors& t) {
    return Normalization{t[1], t[2], 1e-5f, &t[3], &t[4], relu};
  };
  b.check([&](Tensors& t) { batch_norm_apply(t[0], norm(t), t[5]); },
          {x, mean, variance, weight, bias, b.out(kShape)});
  b.check([&](Tensors& t) { batch_norm_sign(t[0], norm(t), t[5]); },
          {x, mean, variance, weight, bias, b.out(kShape)});
  b.check([&](Tensors& t) { batch_norm_apply(t[0], norm(t), t[6], &t[5]); },
          {x, mean, variance, weight, bias, addend, b.out(kShape)});
  b.check(
      [&](Tensors& t) {
        batch_norm_backward(t[5], t[0], nullptr, norm(t), true, {&t[6], &t[7], &t[8]});
      },
      {x, mean, variance, weight, bias, dy, b.out(kShape), b.out({6}), b.out({6})}, kSums);
  b.check(
      [&](Tensors& t) {
        batch_norm_backward(t[5], t[0], &t[9], norm(t), true, {&t[6], &t[7], &t[8], &t[10]});
      },
      {x, mean, variance, weight, bias, dy, b.out(kShape), b.out({6}), b.out({6}), addend,
       b.out(kShape)},
      kSums);

  Pool2dOptions two;
  two.act = relu;
  const Shape pooled = pool2d_shape(kShape, two);
  b.check([&](Tensors& t) { max_pool2d(t[0], two, t[1]); }, {x, b.out(pooled)});
  b.check([&](Tensors& t) { max_pool2d_with_taps(t[0], two, t[1], t[2]); },
          {x, b.out(pooled), b.out(pooled, DType::kUInt8)});
  Tensor y = b.out(pooled), taps = b.out(pooled, DType::kUInt8);
  max_pool2d_with_taps(x, two, y, taps);
  b.check([&](Tensors& t) { max_pool2d_backward(t[0], t[1], t[2], two, t[3]); },
          {b.in(pooled, 9), y, taps, b.out(kShape)});
  b.check([&](Tensors& t) { avg_pool2d(t[0], {}, t[1]); }, {x, b.out(pooled)});
  b.check([&](Tensors& t) { avg_pool2d_backward(t[0], {}, t[1]); },
          {b.in(pooled, 10), b.out(kShape)});
  b.check([](Tensors& t) { adaptive_avg_pool2d(t[0], t[1]); }, {x, b.out({3, 1, 1, 6})});
  b.check([](Tensors& t) { adaptive_avg_pool2d_backward(t[0], t[1]); },
          {b.in({3, 1, 1, 6}, 11), b.out(kShape)});
}

TEST_CASE("convolutions and matrix products through their interface") {
  NEED_DEVICE();
  Both b;
  for (const int stride : {1, 2}) {
    for (const int groups : {1, 2}) {
      Conv2dOptions o;
      o.stride_h = o.stride_w = stride, o.groups = groups, o.pad_h = 1, o.pad_w = 2;
      const Tensor x = b.in({3, 8, 7, 4}, 1), w = b.in({6, 3, 3, 4 / groups}, 2);
      const Tensor bias = b.in({6}, 3);
      const Shape out = conv2d_shape(x.shape(), w.shape(), o);
      const Tensor dy = b.in(out, 4);
      b.check([&](Tensors& t) { conv2d(t[0], t[1], &t[2], o, t[3]); }, {x, w, bias, b.out(out)},
              kProducts);
      b.check([&](Tensors& t) { conv2d(t[0], t[1], nullptr, o, t[2]); }, {x, w, b.out(out)},
              kProducts);
      b.check([&](Tensors& t) { conv2d_backward_data(t[0], t[1], o, t[2]); },
              {dy, w, b.out(x.shape())}, kProducts);
      b.check([&](Tensors& t) { conv2d_add_backward_data(t[0], t[1], o, t[2]); },
              {dy, w, x.clone()}, kProducts);
      b.check([&](Tensors& t) { conv2d_backward_weight(t[0], t[1], o, t[2], &t[3]); },
              {x, dy, b.out(w.shape()), b.out({6})}, 10 * kProducts);  // over 168 pixels
    }
  }
  for (const bool left : {false, true}) {
    for (const bool right : {false, true}) {
      const Tensor a = b.in(left ? Shape{9, 5} : Shape{5, 9}, 5);
      const Tensor c = b.in(right ? Shape{7, 9} : Shape{9, 7}, 6);
      b.check([&](Tensors& t) { matmul(t[0], left, t[1], right, 0.5f, t[2]); },
              {a, c, b.in({5, 7}, 7)}, kProducts);
    }
  }
  const Tensor x = b.in({5, 9}, 8), w = b.in({4, 9}, 9), dy = b.in({5, 4}, 10);
  b.check([](Tensors& t) { linear(t[0], t[1], &t[2], t[3]); }, {x, w, b.in({4}, 11), b.out({5, 4})},
          kProducts);
  b.check([](Tensors& t) { linear(t[0], t[1], nullptr, t[2]); }, {x, w, b.out({5, 4})}, kProducts);
  b.check([](Tensors& t) { linear_backward_data(t[0], t[1], t[2]); }, {dy, w, b.out({5, 9})},
          kProducts);
  b.check([](Tensors& t) { linear_backward_weight(t[0], t[1], t[2], &t[3]); },
          {x, dy, b.out({4, 9}), b.out({4})}, kProducts);
}

TEST_CASE("losses and optimizers through their interface") {
  NEED_DEVICE();
  Both b;
  const Tensor x = b.in({8, 5}, 1), g = b.in({8, 5}, 2);
  const Tensor labels = Tensor::from(b.home(), {8}, std::vector<int64_t>{0, 1, 2, 3, 4, 0, 1, 2});
  b.check([](Tensors& t) { softmax(t[0], t[1]); }, {x, b.out({8, 5})}, 1e-6f);
  b.check([](Tensors& t) { log_softmax(t[0], t[1]); }, {x, b.out({8, 5})}, 1e-6f);
  b.check([](Tensors& t) { softmax_backward(t[0], t[1], t[2]); }, {g, x, b.out({8, 5})}, 1e-6f);
  b.check([](Tensors& t) { log_softmax_backward(t[0], t[1], t[2]); }, {g, x, b.out({8, 5})}, 1e-5f);
  const auto loss = [&](auto kernel) {
    std::vector<float> losses;
    b.check([&](Tensors& t) { losses.push_back(kernel(t[0], t[1], t[2])); },
            {x, labels, b.out({8, 5})}, 1e-6f);
    REQUIRE(losses[0] == Approx(losses[1]).epsilon(1e-6));
  };
  loss([](const Tensor& v, const Tensor& l, Tensor& dx) { return cross_entropy(v, l, 0.1f, dx); });
  loss(nll);
  loss(squared_hinge);
  std::vector<float> losses;
  b.check([&](Tensors& t) { losses.push_back(mse(t[0], t[1], t[2])); }, {x, g, b.out({8, 5})});
  REQUIRE(losses[0] == Approx(losses[1]).epsilon(1e-6));
  REQUIRE(count_correct(b.there(x), b.there(labels)) == count_correct(x, labels));
  Tensor dx = b.there(b.out({8, 5}));
  const Tensor bad = Tensor::full(b.home(), {8}, 5.0f).to(DType::kInt64);
  REQUIRE_THROWS_WITH(cross_entropy(b.there(x), b.there(bad), 0.0f, dx),
                      Catch::Contains("labels in [0, 5), found 8 others"));

  const Tensor p = b.in({40}, 3), grad = b.in({40}, 4);
  SgdOptions sgd;
  sgd.momentum = 0.9, sgd.weight_decay = 1e-3;
  b.check([&](Tensors& t) { sgd_step(sgd, t[0], t[1], t[2]); }, {grad, p.clone(), b.in({40}, 5)});
  b.check([&](Tensors& t) { adam_step({}, t[0], t[1], t[2], t[3]); },
          {grad, p.clone(), b.out({40}), b.out({40})});
}

TEST_CASE("quantization through its interface") {
  NEED_DEVICE();
  Both b;
  const Tensor x = b.in(kShape, 1), dy = b.in(kShape, 2);
  for (const int axis : {-1, 0, 3}) {
    const std::vector<Range> want = observe_ranges(x, axis), got = observe_ranges(b.there(x), axis);
    REQUIRE(got.size() == want.size());
    Grids grids;
    grids.axis = axis;
    for (size_t c = 0; c < want.size(); ++c) {
      REQUIRE(got[c].low == want[c].low);
      REQUIRE(got[c].high == want[c].high);
      grids.list.push_back(quant_math::choose_grid(want[c].low, want[c].high, {8, false, false}));
    }
    b.check([&](Tensors& t) { fake_quantize(t[0], grids, t[1]); }, {x, b.out(kShape)});
    b.check([&](Tensors& t) { fake_quantize_backward(t[0], t[1], grids, t[2]); },
            {dy, x, b.out(kShape)});
    const auto edge = quant_math::LsqEdge::kPaper;
    std::vector<std::vector<double>> sums, offsets;
    Grids plain = grids;
    for (quant_math::Grid& g : plain.list) g.zero_point = 0;
    b.check([&](Tensors& t) { lsq_backward(t[0], t[1], plain, edge, &t[2], sums.emplace_back()); },
            {dy, x, b.out(kShape)});
    b.check(
        [&](Tensors& t) {
          lsq_plus_backward(t[0], t[1], grids, edge, &t[2], sums.emplace_back(),
                            offsets.emplace_back());
        },
        {dy, x, b.out(kShape)});
    for (size_t c = 0; c < want.size(); ++c) {
      REQUIRE(sums[1][c] == Approx(sums[0][c]).epsilon(1e-5).margin(1e-4));
      REQUIRE(sums[3][c] == Approx(sums[2][c]).epsilon(1e-5).margin(1e-4));
      REQUIRE(offsets[1][c] == Approx(offsets[0][c]).epsilon(1e-5).margin(1e-4));
    }
  }
  const Tensor bad = Tensor::full(b.device(), {4}, NAN);
  REQUIRE(std::isnan(observe_ranges(bad)[0].low));
  REQUIRE(moments(b.there(x))[0].sum == moments(x)[0].sum);
}

TEST_CASE("one bit and DoReFa through their interface") {
  NEED_DEVICE();
  Both b;
  const Tensor x = b.in({6, 50}, 1), dy = b.in({6, 50}, 2);
  const Tensor out = b.out({6, 50});
  b.check([](Tensors& t) { binarize(t[0], t[1]); }, {x, out.clone()});
  b.check([](Tensors& t) { binarize_stochastic(t[0], Philox{4, 5}, t[1]); }, {x, out.clone()});
  b.check([](Tensors& t) { binarize_backward(t[0], t[1], {}, t[2]); }, {dy, x, out.clone()});
  b.check([](Tensors& t) { clip_latent_weights(t[0]); }, {x.clone()});
  for (const bool per_row : {false, true}) {
    const std::vector<float> alpha = mean_magnitude(x, per_row);
    REQUIRE(mean_magnitude(b.there(x), per_row) == alpha);
    b.check([&](Tensors& t) { binarize_scaled(t[0], alpha, t[1]); }, {x, out.clone()});
    b.check([&](Tensors& t) { binarize_scaled_backward(t[0], t[1], alpha, t[2]); },
            {dy, x, out.clone()});
  }
  const float largest = dorefa_largest(x);
  REQUIRE(dorefa_largest(b.there(x)) == largest);
  b.check([&](Tensors& t) { dorefa_weights(t[0], largest, 3, t[1]); }, {x, out.clone()});
  b.check([&](Tensors& t) { dorefa_weights_backward(t[0], t[1], largest, t[2]); },
          {dy, x, out.clone()}, 1e-6f);
  b.check([](Tensors& t) { dorefa_activations(t[0], 2, t[1]); }, {x, out.clone()});
  b.check([](Tensors& t) { dorefa_activations_backward(t[0], t[1], t[2]); }, {dy, x, out.clone()});
  b.check([](Tensors& t) { dorefa_gradients(t[0], 4, Philox{6, 7}, t[1]); }, {x, out.clone()});
}

namespace {

void lonely(const Tensor& x) { HALFTONE_ON_DEVICE(lonely, x, x); }

}  // namespace

TEST_CASE("what has no body on a device names itself and the device") {
  NEED_DEVICE();
  Both b;
  REQUIRE_NOTHROW(lonely(Tensor::zeros(b.home(), {4})));
  REQUIRE_THROWS_WITH(lonely(Tensor::zeros(b.device(), {4})),
                      Catch::Contains("lonely: expected an operation with a body for cuda:0"));
}
