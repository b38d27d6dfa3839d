// Binary networks: values, gradients, options, places and words.
#include "quant/bnn.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "quant/binary_quantize.h"
#include "test/quant/chain_oracle.h"
#include "test/quant/digits_run.h"
#include "test/quant/golden_net.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

namespace {

using Floats = std::vector<float>;

Tensor vector_of(const Context& c, const Floats& v) {
  return Tensor::from(c, Shape{static_cast<int64_t>(v.size())}, v);
}

QuantSpec binary() {
  QuantSpec s;
  s.bits = 1;
  return s;
}

std::shared_ptr<BinaryQuantize> weights_of(const Variable& w, const QuantSpec& spec = binary()) {
  return make<BinaryQuantize>(w.context(), FakeQuantizeArgs{QuantType::kWeight, spec, 0, false}, w);
}

std::shared_ptr<BinaryQuantize> activations(const Context& c, const QuantSpec& spec = binary(),
                                            bool codes = false) {
  return make<BinaryQuantize>(c, FakeQuantizeArgs{QuantType::kOutput, spec, 0, codes});
}

Floats values(FakeQuantize& q, const Variable& x) { return q({x}).value().to_vector<float>(); }

Floats backward(FakeQuantize& q, const Variable& x, const Floats& upstream) {
  Variable y = q({x});
  y.backward(Tensor::from(x.context(), x.shape(), upstream));
  return x.grad().to_vector<float>();
}

const float kAbove = std::nextafter(1.0f, 2.0f), kInside = std::nextafter(1.0f, 0.0f);
const Floats kEdges{-3, -kAbove, -1, -kInside, -0.5f, -0.0f, 0, 0.5f, kInside, 1, kAbove, 3};

// A convolution that pads with `padding`, its binary weights and input, quantized or not.
struct BinaryConv {
  BinaryConv(int padding, bool integer) : net(make<Sequential>(context)) {
    Conv2dArgs args{3, 4, 3};
    args.padding = 1;
    conv = make<Conv2d>(context, args);
    net->append("conv", conv);
    QuantizerOptions options;
    options.integer = integer;
    quantizer = std::make_unique<BnnQuantizer>(
        *net,
        R"([{"quant_types": ["weight", "input"], "quant_bits": 1, "op_types": ["Conv2d"],
             "padding_value": )" +
            std::to_string(padding) + "}]",
        nullptr, Tensor::zeros(context, {1, 4, 5, 3}), options);
    quantizer->compress();
  }
  Context context;
  std::shared_ptr<Sequential> net;
  std::shared_ptr<Conv2d> conv;
  std::unique_ptr<BnnQuantizer> quantizer;
};

}  // namespace

TEST_CASE("NNI's binary Linear behind Hardtanh (case G20): values and gradients") {
  const Context c;
  auto net = make<Sequential>(c);
  auto fc = make<Linear>(c, 4, 3, false);
  net->append("fc", fc).append("act", make_hardtanh(c));
  fc->weight.mutable_value() =
      Tensor::from(c, Shape{3, 4}, Floats{3, 0, 0.5f, -3, 1, -0.0f, -0.25f, 2, 0.1f, -1, 0.0f, 4});
  QuantizerOptions options;
  options.integer = false;
  BnnQuantizer quantizer(*net, R"([{"quant_types": ["weight"], "quant_bits": 1,
      "op_types": ["Linear"]}, {"quant_types": ["output"], "quant_bits": 1,
      "op_types": ["Hardtanh"]}])",
                         nullptr, Tensor(), options);
  quantizer.compress();
  const Variable x(Tensor::from(c, Shape{3, 4},
                                Floats{0.25f, 0, 0, 0, 1, 0, 0, 0,  //
                                       -0.1f, 0.2f, 0.3f, -0.2f}),
                   true);
  Variable y = (*net)(x);
  REQUIRE(y.value().to_vector<float>() == Floats{1, 1, 1, 1, 1, 1, 1, -1, -1});
  REQUIRE(values(*quantizer.points()[0].quantizer, fc->weight) ==
          Floats{1, 1, 1, -1, 1, 1, -1, 1, 1, -1, 1, 1});
  y.backward(Tensor::from(c, Shape{3, 3}, Floats{1, 2, 3, 4, 5, 6, 7, 8, 9}));
  // The second row lies on Hardtanh's bound. The weights' gradient is whole, |w| > 1 too.
  REQUIRE(fc->weight.grad().to_vector<float>() ==
          Floats{-0.45000001788139343f, 1.399999976158142f, 2.1000001430511475f,
                 -1.399999976158142f, -0.30000001192092896f, 1.600000023841858f,
                 2.4000000953674316f, -1.600000023841858f, -0.15000000596046448f,
                 1.8000000715255737f, 2.700000047683716f, -1.8000000715255737f});
  REQUIRE(x.grad().to_vector<float>() == Floats{6, 0, 2, 4, 0, 0, 0, 0, 24, 6, 8, 10});
}

// The trace has the weights of conv2 and the output of relu1 binary; latent weights stay inside
// [-1, 1], so clipping them (which NNI forgets, its bug N1) changes nothing.
TEST_CASE("loss trace of NNI's binary network, and its evaluation (case G25)") {
  const double kLosses[] = {1.6332224607467651, 1.6580657958984375, 1.6573858261108398,
                            1.743661642074585,  1.7421300411224365, 1.6245195865631104,
                            1.6661169528961182, 1.6377278566360474, 1.6215507984161377,
                            1.582074522972107};
  const double kEvaluation[] = {-1.5917623043060303, -1.5827795267105103, -1.7103135585784912,
                                -1.8493127822875977, -1.374856948852539};
  QuantizerOptions options;
  options.integer = false;  // whose biases are rounded to 1/64 of a sign
  GoldenNet net("BNNQuantizer", R"([
      {"quant_types": ["weight"], "quant_bits": 1, "op_names": ["conv2"]},
      {"quant_types": ["output"], "quant_bits": 1, "op_names": ["relu1"]}])",
                options);
  for (int i = 0; i < 10; ++i) REQUIRE(net.step(i) == Approx(kLosses[i]).epsilon(1e-3));
  const Floats y = net.evaluate();
  for (int i = 0; i < 10; ++i) REQUIRE(y[i] == Approx(kEvaluation[i % 5]).epsilon(1e-3));
}

TEST_CASE("activations: sign, and the two gradients, at and around -1, 0 and 1") {
  const Context c;
  Floats dy(kEdges.size());
  for (size_t i = 0; i < dy.size(); ++i) dy[i] = static_cast<float>(i + 1);
  for (const bool codes : {false, true}) {
    for (const bool approx : {false, true}) {
      QuantSpec spec = binary();
      spec.approx_sign = approx;
      const auto q = activations(c, spec, codes);
      const Variable x(vector_of(c, kEdges), true);
      const Variable y = (*q)({x});
      REQUIRE((y.codes() != nullptr) == codes);
      REQUIRE(y.value().to_vector<float>() ==
              Floats{-1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1});  // sign(-0) = sign(0) = +1
      if (codes) {
        REQUIRE(y.codes()->params == QuantParams{1.0f, 1, 0, 2});
        REQUIRE(y.codes()->values.to_vector<uint8_t>() ==
                std::vector<uint8_t>{0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2});
      }
      const Floats dx = backward(*q, x, dy);
      for (size_t i = 0; i < dx.size(); ++i) {
        const float size = std::fabs(kEdges[i]);
        const float slope = approx ? (size < 1 ? 2 - 2 * size : 0) : (size <= 1 ? 1 : 0);
        REQUIRE(dx[i] == dy[i] * slope);
      }
    }
  }
}

TEST_CASE("weights: sign, the whole gradient, and clipped after the step, after it alone") {
  const Context c;
  Variable w(vector_of(c, kEdges), true);
  const auto q = weights_of(w);
  REQUIRE(values(*q, w) == Floats{-1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1});
  const Floats dy = inputs(static_cast<int64_t>(kEdges.size()), -1, 1, 7);
  REQUIRE(backward(*q, w, dy) == dy);
  REQUIRE(w.value().to_vector<float>() == kEdges);
  q->after_step();
  REQUIRE(w.value().to_vector<float>() ==
          Floats{-1, -1, -1, -kInside, -0.5f, -0.0f, 0, 0.5f, kInside, 1, 1, 1});
}

TEST_CASE("the optimizer's step clips latent weights, but not during the float warm-up") {
  for (const int start : {0, 3}) {
    const Context c;
    auto net = make<Sequential>(c);
    auto fc = make<Linear>(c, 2, 1, false);
    net->append("fc", fc);
    fc->weight.mutable_value() = Tensor::from(c, Shape{1, 2}, Floats{0.9f, -5.0f});
    ParameterStore store(*net);
    OptimizerOptions sgd;
    sgd.name = "SGD";
    sgd.lr = 1.0;
    const auto optimizer = make_optimizer(store, sgd);
    QuantizerOptions options;
    options.start_step = start;
    BnnQuantizer quantizer(*net, R"([{"quant_types": ["weight"], "quant_bits": 1,
        "op_types": ["Linear"]}])",
                           optimizer.get(), Tensor(), options);
    quantizer.compress();
    const auto step = [&] {
      optimizer->zero_grad();
      Variable y = (*net)(Variable(Tensor::full(c, {1, 2}, -1.0f)));
      y.backward(Tensor::full(c, {1, 1}, 1.0f));  // w grows by 1
      optimizer->step();
      return fc->weight.value().to_vector<float>();
    };
    REQUIRE(step() == (start == 0 ? Floats{1, -1} : Floats{1.9f, -4}));
    REQUIRE(step() == (start == 0 ? Floats{1, 0} : Floats{1, -1}));  // step 3 is binary
  }
}

TEST_CASE("XNOR-Net's scale: alpha sign(w) per channel, and the paper's gradient") {
  const Context c;
  QuantSpec spec = binary();
  spec.per_channel = true;
  const Floats w{0.5f, -0.25f, 1.5f, -1, 0, 0, 0, 0};
  const Variable x(Tensor::from(c, Shape{2, 4}, w), true);
  const auto q = weights_of(x, spec);
  const float alpha = 0.8125f;
  REQUIRE(values(*q, x) == Floats{alpha, -alpha, alpha, -alpha, 0, 0, 0, 0});
  REQUIRE(q->grids(2).list[0].scale == alpha);
  REQUIRE(q->grids(2).list[1].scale == quant_math::kScaleFloor);  // never 0: codes divide by it
  REQUIRE(q->codes(x.value()).to_vector<int32_t>() ==
          std::vector<int32_t>{1, -1, 1, -1, 0, 0, 0, 0});
  const Floats dy{1, 2, 3, 4, 5, 6, 7, 8};
  // (1 / n + alpha [|w| <= 1]) dy
  REQUIRE(backward(*q, x, dy) == Floats{1.0625f, 2.125f, 0.75f, 4.25f, 1.25f, 1.5f, 1.75f, 2});
}

TEST_CASE("stochastic signs: in training alone, with the right frequency, from the key") {
  ContextOptions options;
  options.seed = 4;
  const Context c(options);
  QuantSpec spec = binary();
  spec.stochastic = true;
  const auto q = activations(c, spec);
  const int64_t n = 20000;
  for (const float v : {-1.5f, -1.0f, -0.4f, 0.0f, 0.7f, 1.0f}) {
    const Variable x(Tensor::full(c, {n}, v), true);
    double sum = 0;
    for (const float y : values(*q, x)) {
      REQUIRE(std::fabs(y) == 1.0f);
      sum += static_cast<double>(y);
    }
    // The mean of sign is clamp(x, -1, 1); deviation 1 at most: five of the mean's.
    const double want = std::fmax(-1, std::fmin(1, static_cast<double>(v)));
    REQUIRE(std::fabs(sum / n - want) <= 5 / std::sqrt(n));
    if (std::fabs(v) >= 1) REQUIRE(sum / n == want);
  }
  const Variable x(vector_of(c, inputs(64, -1, 1, 3)), true);
  c.random().next = 9;
  const Floats once = values(*q, x);
  REQUIRE(values(*q, x) != once);
  c.random().next = 9;
  REQUIRE(values(*q, x) == once);
  REQUIRE(backward(*q, x, Floats(64, 2.0f)) == Floats(64, 2.0f));  // straight through
  q->eval();
  const uint64_t before = c.random().next;
  const Floats sure = values(*q, x);
  for (size_t i = 0; i < sure.size(); ++i)
    REQUIRE(sure[i] == (x.value().data<float>()[i] >= 0 ? 1.0f : -1.0f));
  REQUIRE(c.random().next == before);
}

TEST_CASE("stochastic weights have no integer form, and say so; with XNOR's scale too") {
  const Context c;
  QuantSpec spec = binary();
  spec.stochastic = true;
  spec.per_channel = true;
  const Variable w(Tensor::from(c, Shape{2, 2}, Floats{0.5f, -0.5f, 0.25f, 0.25f}), true);
  const auto q = weights_of(w, spec);
  REQUIRE_THAT(q->integer_obstacle(), Contains("drawn anew"));
  const Floats y = values(*q, w);
  for (size_t i = 0; i < 4; ++i) REQUIRE(std::fabs(y[i]) == (i < 2 ? 0.5f : 0.25f));
  REQUIRE(q->codes(w.value()).to_vector<int32_t>() == std::vector<int32_t>{1, -1, 1, 1});
}

TEST_CASE("padding with 0, -1 and 1: sums and gradients, on codes as on floats") {
  for (const int padding : {0, -1, 1}) {
    CAPTURE(padding);
    BinaryConv a(padding, true), b(padding, false);
    REQUIRE((a.quantizer->chains().size() == 1 && b.quantizer->chains().empty()));
    const Floats pixels = inputs(60, -1.5, 1.5, 3);
    const Variable x(Tensor::from(a.context, Shape{1, 4, 5, 3}, pixels), true);
    const Variable z(Tensor::from(b.context, Shape{1, 4, 5, 3}, pixels), true);
    Variable y = (*a.net)(x), v = (*b.net)(z);
    // Plain sums of signs.
    const auto sign = [](float t) { return t >= 0 ? 1 : -1; };
    const Floats w = a.conv->weight.value().to_vector<float>();
    for (int h = 0; h < 4; ++h) {
      for (int l = 0; l < 5; ++l) {
        for (int o = 0; o < 4; ++o) {
          int sum = 0;
          for (int t = 0; t < 27; ++t) {
            const int i = h + t / 9 - 1, j = l + t / 3 % 3 - 1;
            const bool out = i < 0 || i >= 4 || j < 0 || j >= 5;
            sum += sign(w[o * 27 + t]) *
                   (out ? padding : sign(pixels[static_cast<size_t>((i * 5 + j) * 3 + t % 3)]));
          }
          const float want = static_cast<float>(sum) + a.conv->bias.value().data<float>()[o];
          // The bias is a multiple of 1/64 of a step on codes.
          REQUIRE(v.value().data<float>()[(h * 5 + l) * 4 + o] == Approx(want).margin(1e-5));
          REQUIRE(y.value().data<float>()[(h * 5 + l) * 4 + o] == Approx(want).margin(1.0 / 128));
        }
      }
    }
    // The same sums of the same numbers, in another order.
    const Floats dy = inputs(80, -1, 1, 7);
    y.backward(Tensor::from(a.context, Shape{1, 4, 5, 4}, dy));
    v.backward(Tensor::from(b.context, Shape{1, 4, 5, 4}, dy));
    const Floats dx = x.grad().to_vector<float>(), dz = z.grad().to_vector<float>();
    for (size_t i = 0; i < dx.size(); ++i) REQUIRE(dx[i] == Approx(dz[i]).margin(1e-5));
    const Floats da = a.conv->weight.grad().to_vector<float>();
    const Floats db = b.conv->weight.grad().to_vector<float>();
    for (size_t i = 0; i < da.size(); ++i) REQUIRE(da[i] == Approx(db[i]).margin(1e-5));
  }
}

TEST_CASE("a file with another padding is refused") {
  BinaryConv a(-1, true), b(1, true);
  REQUIRE_NOTHROW(BinaryConv(-1, true).net->load_state_dict(a.net->state_dict()));
  REQUIRE_THROWS_WITH(b.net->load_state_dict(a.net->state_dict()),
                      Contains("padding_value 1") && Contains("-1"));
}

TEST_CASE("edge cases: zeros, one element, empty, NaN, infinities, evaluation first") {
  const Context c;
  const auto q = activations(c);
  REQUIRE(values(*q, Variable(vector_of(c, Floats(3, 0.0f)))) == Floats(3, 1.0f));
  REQUIRE(values(*q, Variable(vector_of(c, {-1e-45f}))) == Floats{-1});
  REQUIRE_THROWS_WITH((*q)({Variable(vector_of(c, {}))}), Contains("empty batch"));
  REQUIRE_THROWS_WITH((*q)({Variable(vector_of(c, {NAN}))}), Contains("NaN"));
  REQUIRE_THROWS_WITH((*q)({Variable(vector_of(c, {-INFINITY}))}), Contains("infinity"));
  q->eval();
  REQUIRE(values(*q, Variable(vector_of(c, {-2, 2}))) == Floats{-1, 1});
  REQUIRE_NOTHROW(q->set_ranges({{-1.0f, 1.0f}}));
  REQUIRE_THROWS_WITH(q->set_ranges({{-1.0f, 3.0f}}), Contains("-1 .. 1"));
}

TEST_CASE("in words, and what is clipped") {
  const Context c;
  QuantSpec spec = binary();
  spec.approx_sign = spec.stochastic = true;
  const auto q = activations(c, spec);
  REQUIRE(q->describe() == "output, sign, stochastic, ApproxSign");
  REQUIRE(q->count_clipped(vector_of(c, kEdges)) == 4);
  spec.per_channel = true;
  const Variable w(vector_of(c, {-5, 5}), true);
  REQUIRE(weights_of(w, spec)->describe() == "weight, sign, XNOR scale, stochastic");
  REQUIRE(weights_of(w)->count_clipped(w.value()) == 0);
}

TEST_CASE("options are keys of config_list, by type, checked") {
  const auto compress = [](const std::string& config) {
    const Context c;
    Model model = make_model("lenet5", c);
    BnnQuantizer q(*model.module, config);
    q.compress();
    std::map<QuantType, QuantSpec> specs;
    for (const QuantPoint& p : q.points()) specs[p.type] = p.quantizer->spec();
    return specs;
  };
  const std::string head = R"([{"op_names": ["conv2"], "quant_types": ["weight", "input"], )"
                           R"("quant_bits": 1)";
  auto specs = compress(head + R"(, "binarization": {"input": "stochastic"}, "xnor_scale": true,
                                "sign_gradient": "approx_sign", "padding_value": -1}])");
  REQUIRE((specs[QuantType::kInput].stochastic && !specs[QuantType::kWeight].stochastic));
  REQUIRE((specs[QuantType::kInput].approx_sign && specs[QuantType::kWeight].per_channel));
  REQUIRE(specs[QuantType::kWeight].padding_value == -1);
  const auto refuses = [&](const std::string& keys, const std::string& message) {
    REQUIRE_THROWS_WITH(compress(head + ", " + keys + "}]"), Contains(message));
  };
  refuses(R"("binarization": "random")", R"("deterministic" or "stochastic")");
  refuses(R"("sign_gradient": "polynomial")", R"("straight_through" or "approx_sign")");
  refuses(R"("sign_gradient": {"weight": "approx_sign"})", "input, output");
  refuses(R"("xnor_scale": 1)", "true or false");
  refuses(R"("padding_value": 2)", "from -1 to 1");
  refuses(R"("paddin_value": 1)", "padding_value");
  refuses(R"("quant_scheme": "per_tensor_affine")", "quant_scheme");
  const auto refuses_all = [&](const std::string& entry, const std::string& message) {
    REQUIRE_THROWS_WITH(compress("[{\"op_names\": [\"conv2\"], " + entry + "}]"),
                        Contains(message));
  };
  refuses_all(R"("quant_types": ["weight"], "quant_bits": 2)", "expected 1");
  refuses_all(R"("quant_types": ["gradient"], "quant_bits": 1)", "weight, input, output");
  refuses_all(R"("quant_types": ["input"], "quant_bits": 1, "xnor_scale": true)",
              "quant_types is without weight");
  refuses_all(R"("quant_types": ["weight"], "quant_bits": 1, "sign_gradient": "approx_sign")",
              "without input and output");
}

TEST_CASE("the sign of what is never negative is always +1: a warning says where") {
  DigitsRun run("BNNQuantizer", R"([{"quant_types": ["weight", "input"], "quant_bits": 1,
      "op_names": ["conv1", "fc1"]}, {"quant_types": ["output"], "quant_bits": 1,
      "op_names": ["relu1"]}])");
  REQUIRE(run.quantizer->warnings().size() == 2);
  REQUIRE_THAT(run.quantizer->warnings()[0], Contains("the output of relu1"));
  REQUIRE_THAT(run.quantizer->warnings()[1], Contains("the input of fc1") && Contains("Hardtanh"));
}

TEST_CASE("options as C++ values") {
  const Context c;
  Model model = make_model("lenet5", c);
  ConfigValues entry;
  entry.quant_types = {"weight", "output"};
  entry.quant_bits = 1;
  entry.op_names = {"conv2"};
  entry.binarization = ByType<std::string>{{"output", "stochastic"}};
  entry.sign_gradient = "approx_sign";
  entry.xnor_scale = true;
  entry.padding_value = 1;
  BnnQuantizer q(*model.module, std::vector<ConfigValues>{entry});
  q.compress();
  REQUIRE(q.points().size() == 2);
  REQUIRE((q.points()[0].quantizer->spec().per_channel &&
           q.points()[1].quantizer->spec().stochastic &&
           q.points()[1].quantizer->spec().approx_sign));
  REQUIRE(dynamic_cast<Conv2d&>(*model.module->find("conv2")).padding_value() == 1.0f);
}

TEST_CASE("LeNet-5 with binary layers between the first and the last learns digits") {
  DigitsRun run("BNNQuantizer", R"([{"quant_types": ["weight", "input"], "quant_bits": 1,
      "op_names": ["conv2", "fc1", "fc2"]}])",
                {}, "hardtanh");
  REQUIRE(run.quantizer->warnings().empty());
  for (const char* layer : {"conv2", "fc1", "fc2"})
    REQUIRE(run.quantizer->integer_obstacle(layer).empty());
  const float first = run.epoch();
  for (int k = 0; k < 3; ++k) run.epoch();
  REQUIRE(run.epoch() < 0.5f * first);
}
