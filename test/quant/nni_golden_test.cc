// Where NNI's bugs reach on: a fold over many steps, and the gradient of a residual sum. The
// numbers that it computes are compared in test/golden.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "autograd/ops.h"
#include "quant/quantizer.h"
#include "quant/range_quantize.h"

using namespace halftone;

namespace {

// Conv2d(1, 2, 1) and its batch norm under NNI's fold; x = 0, 1, 2, 3.
struct Folded {
  Folded() : net(make<Sequential>(c)) {
    conv = make<Conv2d>(c, Conv2dArgs{1, 2, 1});
    norm = make<BatchNorm>(c, 2, 2);
    net->append("conv", conv).append("bn", norm);
    const auto set = [&](Tensor& t, float a, float b) {
      t.data<float>()[0] = a;
      t.data<float>()[1] = b;
    };
    set(conv->weight.mutable_value(), 1, -2);
    set(conv->bias.mutable_value(), .5f, 0);
    set(norm->weight.mutable_value(), 2, .5f);
    set(norm->bias.mutable_value(), .1f, -.1f);
    set(*norm->running_mean, .2f, -.3f);
    set(*norm->running_var, 4, 1);
    QuantizerOptions options;
    options.nni = true;
    q = make_quantizer("QAT_Quantizer", *net,
                       R"([{"quant_types": ["weight"], "quant_bits": 8, "op_types": ["Conv2d"],
                            "quant_dtype": "int", "quant_scheme": "per_channel_symmetric"}])",
                       nullptr, Tensor::zeros(c, {1, 2, 2, 1}), options);
    q->compress();
  }
  Variable run() { return (*net)(Variable(Tensor::from<float>(c, {1, 2, 2, 1}, {0, 1, 2, 3}))); }
  Context c;
  std::shared_ptr<Sequential> net;
  std::shared_ptr<Conv2d> conv;
  std::shared_ptr<BatchNorm> norm;
  std::unique_ptr<Quantizer> q;
};

void require_pair(const Tensor& t, float a, float b, double tolerance) {
  REQUIRE(t.data<float>()[0] == Approx(a).epsilon(tolerance));
  REQUIRE(t.data<float>()[1] == Approx(b).epsilon(tolerance));
}

}  // namespace

// G16, N: NNI's second step takes the statistics of the convolution that it folded and quantized in
// the first (its bug B2): means (0.5189421, -0.6200703), variances (3.5669906, 1.5163821), and from
// there to the square root of the true variance. Ours are the float convolution's.
TEST_CASE("NNI's fold, later steps: true statistics, where NNI's are not") {
  Folded f;
  double mean[] = {.2, -.3}, variance[] = {4, 1};
  const double batch_mean[] = {2, -3}, batch_variance[] = {5.0 / 3, 20.0 / 3};  // unbiased
  for (int step = 1; step <= 400; ++step) {
    f.run();
    for (int k = 0; k < 2; ++k) {
      mean[k] = .9 * mean[k] + .1 * batch_mean[k];
      variance[k] = .9 * variance[k] + .1 * batch_variance[k];
    }
    // Float sums of step after step.
    require_pair(*f.norm->running_mean, static_cast<float>(mean[0]), static_cast<float>(mean[1]),
                 1e-5);
    require_pair(*f.norm->running_var, static_cast<float>(variance[0]),
                 static_cast<float>(variance[1]), 1e-5);
    f.q->advance_step();
  }
  REQUIRE(variance[1] == Approx(20.0 / 3).epsilon(1e-9));  // not its root
}

// G11, N: NNI masks the upstream gradient in place, so that the other input of a residual sum gets
// (1, 2, 0, 0) (its bug B3). Ours is (1, 2, 3, 4).
TEST_CASE("residual: the gradient of the other input is the untouched upstream") {
  const Context context;
  QuantSpec spec;
  spec.bits = 4;
  spec.nni = true;
  RangeQuantize q(context, FakeQuantizeArgs{QuantType::kOutput, spec, 1, false});
  q.set_ranges({{0, 1}});
  q.eval();
  const Variable x(Tensor::from<float>(context, {4}, {0.2f, 0.6f, 1.5f, 2.5f}), true);
  const Variable r(Tensor::from<float>(context, {4}, {0, 0, 0, 0}), true);
  const Tensor up = Tensor::from<float>(context, {4}, {1, 2, 3, 4});
  Variable y = add(q({relu(x)}), r);
  y.backward(up);
  REQUIRE(r.grad().to_vector<float>() == std::vector<float>{1, 2, 3, 4});
  REQUIRE(x.grad().to_vector<float>() == std::vector<float>{1, 2, 0, 0});
  REQUIRE(up.to_vector<float>() == std::vector<float>{1, 2, 3, 4});
}
