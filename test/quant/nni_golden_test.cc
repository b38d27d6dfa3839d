// What NNI 2.10 computes (torch 1.13, CPU), number for number: the rows that its own bugs do not
// reach.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "autograd/ops.h"
#include "quant/quantizer.h"
#include "quant/range_quantize.h"
#include "test/golden/inputs.h"

using namespace halftone;
using golden::inputs;
using quant_math::Grid;

namespace {

struct Row {
  int bits;
  bool is_signed, symmetric;
  float low, high, scale;
  int zero_point;
};

const Row kRows[] = {
    {1, false, false, -1.0f, 2.0f, 3.0f, 0},
    {1, false, false, 0.5f, 2.0f, 2.0f, 0},
    {1, false, false, -3.0f, -1.0f, 3.0f, 1},
    {1, false, true, -1.0f, 2.0f, 4.0f, 0},
    {1, false, true, 0.5f, 2.0f, 4.0f, 0},
    {1, false, true, -3.0f, -1.0f, 6.0f, 0},
    {2, false, false, -1.0f, 2.0f, 1.0f, 1},
    {2, false, false, 0.5f, 2.0f, 0.6666666865348816f, 0},
    {2, false, false, -3.0f, -1.0f, 1.0f, 3},
    {2, false, true, -1.0f, 2.0f, 1.3333333730697632f, 1},
    {2, false, true, 0.5f, 2.0f, 1.3333333730697632f, 1},
    {2, false, true, -3.0f, -1.0f, 2.0f, 1},
    {2, true, false, -1.0f, 2.0f, 1.5f, 0},
    {2, true, false, 0.5f, 2.0f, 1.0f, -1},
    {2, true, false, -3.0f, -1.0f, 1.5f, 1},
    {2, true, true, -1.0f, 2.0f, 2.0f, 0},
    {2, true, true, 0.5f, 2.0f, 2.0f, 0},
    {2, true, true, -3.0f, -1.0f, 3.0f, 0},
    {4, false, false, -1.0f, 2.0f, 0.20000000298023224f, 5},
    {4, false, false, 0.5f, 2.0f, 0.13333334028720856f, 0},
    {4, false, false, -3.0f, -1.0f, 0.20000000298023224f, 15},
    {4, false, true, -1.0f, 2.0f, 0.2666666805744171f, 7},
    {4, false, true, 0.5f, 2.0f, 0.2666666805744171f, 7},
    {4, false, true, -3.0f, -1.0f, 0.4000000059604645f, 7},
    {4, true, false, -1.0f, 2.0f, 0.2142857164144516f, -2},
    {4, true, false, 0.5f, 2.0f, 0.1428571492433548f, -7},
    {4, true, false, -3.0f, -1.0f, 0.2142857164144516f, 7},
    {4, true, true, -1.0f, 2.0f, 0.2857142984867096f, 0},
    {4, true, true, 0.5f, 2.0f, 0.2857142984867096f, 0},
    {4, true, true, -3.0f, -1.0f, 0.4285714328289032f, 0},
    {8, false, false, -1.0f, 2.0f, 0.0117647061124444f, 85},
    {8, false, false, 0.5f, 2.0f, 0.007843137718737125f, 0},
    {8, false, false, -3.0f, -1.0f, 0.0117647061124444f, 255},
    {8, false, true, -1.0f, 2.0f, 0.01568627543747425f, 127},
    {8, false, true, 0.5f, 2.0f, 0.01568627543747425f, 127},
    {8, false, true, -3.0f, -1.0f, 0.0235294122248888f, 127},
    {8, true, false, -1.0f, 2.0f, 0.011811023578047752f, -42},
    {8, true, false, 0.5f, 2.0f, 0.007874015718698502f, -127},
    {8, true, false, -3.0f, -1.0f, 0.011811023578047752f, 127},
    {8, true, true, -1.0f, 2.0f, 0.015748031437397003f, 0},
    {8, true, true, 0.5f, 2.0f, 0.015748031437397003f, 0},
    {8, true, true, -3.0f, -1.0f, 0.023622047156095505f, 0},
    {16, false, false, -1.0f, 2.0f, 4.577706567943096e-05f, 21845},
    {16, false, false, 0.5f, 2.0f, 3.051804378628731e-05f, 0},
    {16, false, false, -3.0f, -1.0f, 4.577706567943096e-05f, 65535},
    {16, false, true, -1.0f, 2.0f, 6.103608757257462e-05f, 32767},
    {16, false, true, 0.5f, 2.0f, 6.103608757257462e-05f, 32767},
    {16, false, true, -3.0f, -1.0f, 9.155413135886192e-05f, 32767},
    {16, true, false, -1.0f, 2.0f, 4.577776417136192e-05f, -10922},
    {16, true, false, 0.5f, 2.0f, 3.0518509447574615e-05f, -32767},
    {16, true, false, -3.0f, -1.0f, 4.577776417136192e-05f, 32767},
    {16, true, true, -1.0f, 2.0f, 6.103701889514923e-05f, 0},
    {16, true, true, 0.5f, 2.0f, 6.103701889514923e-05f, 0},
    {16, true, true, -3.0f, -1.0f, 9.155552834272385e-05f, 0},
};

const int kTies0[] = {0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                      0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                      0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  1,  2,  2,  2,  3,  4,
                      4,  4,  5,  6,  6,  6,  7,  8,  8,  8,  9,  10, 10, 10, 11, 12,
                      12, 12, 13, 14, 14, 14, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15};
const int kTies3[] = {0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                      0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                      0,  0,  0,  0,  1,  2,  2,  2,  3,  4,  4,  4,  5,  6,  6,  6,
                      7,  8,  8,  8,  9,  10, 10, 10, 11, 12, 12, 12, 13, 14, 14, 14,
                      15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15};
const int kTies4[] = {0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                      0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                      0,  0,  1,  2,  2,  2,  3,  4,  4,  4,  5,  6,  6,  6,  7,  8,
                      8,  8,  9,  10, 10, 10, 11, 12, 12, 12, 13, 14, 14, 14, 15, 15,
                      15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15};

const float kEdges[] = {-0.7599999904632568f,
                        -0.75f,
                        -0.7400000095367432f,
                        -0.5f,
                        -0.25999999046325684f,
                        -0.25f,
                        -0.23999999463558197f,
                        0.0f,
                        0.10000000149011612f,
                        7.239999771118164f,
                        7.25f,
                        7.260000228881836f,
                        7.5f,
                        7.739999771118164f,
                        7.75f,
                        7.760000228881836f,
                        8.0f};
const int kPassed[] = {0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0};

struct Step {
  float low, high, scale;
  int zero_point;
  std::vector<float> y, dx;
};

const Step kSteps[] = {
    {-0.9138953685760498f,
     1.4467843770980835f,
     0.00925756711512804f,
     99,
     {0.546196460723877f,
      0.0f,
      1.1386806964874268f,
      0.17589376866817474f,
      0.0f,
      0.7683780789375305f,
      0.0f,
      1.360862374305725f,
      0.4073329567909241f,
      0.0f,
      0.9998172521591187f,
      0.03703026846051216f,
      0.0f,
      0.6295145750045776f,
      0.0f,
      1.2219988107681274f,
      0.2684694528579712f,
      0.0f,
      0.8609537482261658f,
      0.0f,
      1.4441804885864258f,
      0.49065107107162476f,
      0.0f,
      1.0831353664398193f},
     {-0.34752416610717773f,
      0.0f,
      0.9574275016784668f,
      -0.39009663462638855f,
      0.0f,
      0.9148550629615784f,
      0.0f,
      0.2198067456483841f,
      0.8722825646400452f,
      0.0f,
      0.17723426222801208f,
      0.8297101259231567f,
      0.0f,
      0.13466179370880127f,
      0.0f,
      -0.5603865385055542f,
      0.09208932518959045f,
      0.0f,
      -0.6029589772224426f,
      0.0f,
      0.7019926905632019f,
      -0.6455314755439758f,
      0.0f,
      0.6594201922416687f}},
    {-0.9132952690124512f,
     1.4506779909133911f,
     0.009270482696592808f,
     99,
     {1.4461952447891235f,
      1.02902352809906f,
      0.5840404033660889f,
      0.14832772314548492f,
      0.0f,
      0.0f,
      1.4461952447891235f,
      1.3998428583145142f,
      0.9641302227973938f,
      0.5191470384597778f,
      0.0834343433380127f,
      0.0f,
      0.0f,
      1.4461952447891235f,
      1.3349494934082031f,
      0.899236798286438f,
      0.46352413296699524f,
      0.018540965393185616f,
      0.0f,
      0.0f,
      1.4461952447891235f,
      1.270056128501892f,
      0.834343433380127f,
      0.3986307680606842f},
     {0.0f,
      0.3049516975879669f,
      0.9574275016784668f,
      -0.39009663462638855f,
      0.0f,
      0.0f,
      0.0f,
      0.2198067456483841f,
      0.8722825646400452f,
      -0.4752415716648102f,
      0.17723426222801208f,
      0.0f,
      0.0f,
      0.0f,
      0.7871376276016235f,
      -0.5603865385055542f,
      0.09208932518959045f,
      0.7445651888847351f,
      0.0f,
      0.0f,
      0.0f,
      -0.6455314755439758f,
      0.006944377440959215f,
      0.6594201922416687f}},
    {-0.9135755300521851f,
     1.4588866233825684f,
     0.009303773753345013f,
     98,
     {0.0f,
      0.0f,
      0.0f,
      0.06512641906738281f,
      0.381454735994339f,
      0.6977830529212952f,
      1.0048075914382935f,
      1.3211358785629272f,
      1.4606925249099731f,
      1.4606925249099731f,
      1.4606925249099731f,
      0.0f,
      0.0f,
      0.0f,
      0.03721509501338005f,
      0.35354340076446533f,
      0.6605679392814636f,
      0.9768962264060974f,
      1.293224573135376f,
      1.4606925249099731f,
      1.4606925249099731f,
      1.4606925249099731f,
      0.0f,
      0.0f},
     {0.0f,
      0.0f,
      0.0f,
      -0.39009663462638855f,
      0.2623791992664337f,
      0.9148550629615784f,
      -0.43266910314559937f,
      0.2198067456483841f,
      0.0f,
      0.0f,
      0.0f,
      0.0f,
      0.0f,
      0.0f,
      0.7871376276016235f,
      -0.5603865385055542f,
      0.09208932518959045f,
      0.7445651888847351f,
      -0.6029589772224426f,
      0.0f,
      0.0f,
      0.0f,
      0.0f,
      0.0f}},
};

}  // namespace

TEST_CASE("scale and zero point over bits, dtypes, schemes and ranges") {
  for (const Row& r : kRows) {
    const Grid g = quant_math::choose_grid(r.low, r.high, {r.bits, r.is_signed, r.symmetric, true});
    CAPTURE(r.bits, r.is_signed, r.symmetric, r.low, r.high);
    REQUIRE(g.scale == r.scale);
    REQUIRE(g.zero_point == r.zero_point);
  }
}

TEST_CASE("codes of ties, zero point before rounding") {
  for (int k = 0; k < 80; ++k) {
    const float x = -10.0f + 0.25f * static_cast<float>(k);
    REQUIRE(quant_math::quantize_nni(x, {0.5f, 0, 0, 15}) == kTies0[k]);
    REQUIRE(quant_math::quantize_nni(x, {0.5f, 3, 0, 15}) == kTies3[k]);
    REQUIRE(quant_math::quantize_nni(x, {0.5f, 4, 0, 15}) == kTies4[k]);
  }
}

TEST_CASE("the gradient mask at and around the edges") {
  for (size_t i = 0; i < sizeof(kEdges) / sizeof(kEdges[0]); ++i) {
    REQUIRE(quant_math::ste_mask_nni(kEdges[i], {0.5f, 0, 0, 15}) == (kPassed[i] == 1));
    REQUIRE(quant_math::ste_mask(kEdges[i], {0.5f, 0, 0, 15}) == (kPassed[i] == 1));
  }
}

TEST_CASE("quantized input of a ReLU over training steps") {
  const Context context;
  QuantSpec spec;
  spec.nni = true;
  RangeQuantize q(context, FakeQuantizeArgs{QuantType::kInput, spec, 1, false});
  const std::vector<float> up = inputs(24, -1, 1, 7);
  for (int i = 0; i < 3; ++i) {
    const auto x = inputs(24, -1 - 0.1 * i, 1.5 + 0.4 * i, 2 * i + 1);
    const Variable in(Tensor::from(context, Shape{24}, x), true);
    Variable y = relu(q({in}));
    const Step& want = kSteps[i];
    REQUIRE(q.ranges()[0].low == want.low);
    REQUIRE(q.ranges()[0].high == want.high);
    REQUIRE(q.params().scale == want.scale);
    REQUIRE(q.params().zero_point == want.zero_point);
    REQUIRE(y.value().to_vector<float>() == want.y);
    y.backward(Tensor::from(context, Shape{24}, up));
    REQUIRE(in.grad().to_vector<float>() == want.dx);
  }
}

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

// G15. Tolerance 1e-6: means and products.
TEST_CASE("NNI's fold, first step: statistics, scale, folded layer and gradients") {
  Folded f;
  Variable y = f.run();
  require_pair(*f.norm->running_mean, 0.3799999952316284f, -0.5700000524520874f, 1e-6);
  require_pair(*f.norm->running_var, 3.7666666507720947f, 1.566666603088379f, 1e-6);
  const auto scale = f.q->points()[0].quantizer->grids(4).list;
  REQUIRE(scale[0].scale == Approx(0.008114226162433624f).epsilon(1e-6));
  REQUIRE(scale[1].scale == Approx(0.00629081018269062f).epsilon(1e-6));
  const std::vector<float> want = {0.22366081178188324f, 0.12769591808319092f, 1.2541675567626953f,
                                   -0.6712369918823242f, 2.2846741676330566f,  -1.4701699018478394f,
                                   3.315181016921997f,   -2.2691025733947754f};  // NHWC
  for (int i = 0; i < 8; ++i) REQUIRE(y.value().data<float>()[i] == Approx(want[i]).epsilon(1e-6));
  // upstream g((1, 2, 2, 2), -1, 1, 7) lies in NCHW.
  const auto up = inputs(8, -1, 1, 7);
  y.backward(Tensor::from<float>(f.c, {1, 2, 2, 2},
                                 {up[0], up[4], up[1], up[5], up[2], up[6], up[3], up[7]}));
  require_pair(f.conv->weight.grad(), 1.0815341472625732f, 0.2831965982913971f, 1e-6);
  require_pair(f.conv->bias.grad(), 0.5407670140266418f, 0.3852342367172241f, 1e-6);
  require_pair(f.norm->weight.grad(), 0.5732131004333496f, -0.6936193108558655f, 1e-6);
  require_pair(f.norm->bias.grad(), 0.5247583389282227f, 0.964371919631958f, 1e-6);
}

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
