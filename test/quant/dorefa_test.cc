// DoReFa-Net: weights, activations, gradients, their places and their words.
#include "quant/dorefa.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>

#include "quant/dorefa_quantize.h"
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

QuantSpec bits_of(int bits) {
  QuantSpec s;
  s.bits = bits;
  return s;
}

std::shared_ptr<DorefaQuantize> weights_of(const Variable& w, int bits) {
  const FakeQuantizeArgs args{QuantType::kWeight, bits_of(bits), 0, false};
  return make<DorefaQuantize>(w.context(), args, w);
}

std::shared_ptr<DorefaQuantize> activations(const Context& c, int bits, bool codes = false) {
  return make<DorefaQuantize>(c, FakeQuantizeArgs{QuantType::kInput, bits_of(bits), 0, codes});
}

std::shared_ptr<DorefaGradient> gradient_of(const Context& c, int bits) {
  return make<DorefaGradient>(c, FakeQuantizeArgs{QuantType::kGradient, bits_of(bits), 0, true});
}

int64_t ulps(float a, float b) {
  int32_t x, y;
  std::memcpy(&x, &a, 4);
  std::memcpy(&y, &b, 4);
  return std::llabs(static_cast<int64_t>(x) - y);
}

// NNI's case G19: the gradient of the quantized weights of a Linear(5, 2).
const Floats kUpstream = {-1.019967794418335f,  0.640358567237854f,   0.38583001494407654f,
                          0.6560598015785217f,  0.4015311896800995f,  0.3169463276863098f,
                          -0.7053530812263489f, -0.9474592208862305f, 0.6401447653770447f,
                          0.3980385661125183f};

// What gradient an upstream gradient becomes behind a quantizer of x.
Floats backward(FakeQuantize& q, const Variable& x, const Floats& upstream) {
  Variable y = q({x});
  y.backward(Tensor::from(x.context(), x.shape(), upstream));
  return x.grad().to_vector<float>();
}

// d/dw of sum dy tanh(w) / max |tanh|, the unrounded weights, by central differences in double.
double difference(const Floats& w, const Floats& dy, size_t at) {
  const auto loss = [&](double value) {
    double largest = 0, sum = 0;
    std::vector<double> t;
    for (size_t i = 0; i < w.size(); ++i)
      t.push_back(std::tanh(i == at ? value : static_cast<double>(w[i])));
    for (const double v : t) largest = std::max(largest, std::fabs(v));
    for (size_t i = 0; i < w.size(); ++i) sum += static_cast<double>(dy[i]) * t[i] / largest;
    return sum;
  };
  const double v = static_cast<double>(w[at]), h = 1e-5;
  return (loss(v + h) - loss(v - h)) / (2 * h);
}

}  // namespace

TEST_CASE("weights of 2, 3, 4 and 8 bits are NNI's (case G19)") {
  const Context c;
  const std::map<int, Floats> wanted = {
      {2,
       {0.3333333730697632f, -1, 1, -0.3333333134651184f, -1, 1, -0.3333333134651184f, 1,
        0.3333333730697632f, -1}},
      {3,
       {0.4285714626312256f, -0.7142857313156128f, 1, -0.1428571343421936f, -1, 0.7142857313156128f,
        -0.7142857313156128f, 1, 0.14285719394683838f, -1}},
      {4,
       {0.46666669845581055f, -0.8666666746139526f, 1, -0.06666666269302368f, -1,
        0.7333333492279053f, -0.6000000238418579f, 1, 0.20000004768371582f, -0.8666666746139526f}},
      {8,
       {0.46666669845581055f, -0.8274509906768799f, 0.9450980424880981f, -0.11372548341751099f,
        -0.9843137264251709f, 0.7254902124404907f, -0.6392157077789307f, 1, 0.2549020051956177f,
        -0.9058823585510254f}}};
  const Variable w(vector_of(c, inputs(10, -2, 2, 1)), true);
  for (const auto& [bits, values] : wanted) {
    const Floats got = (*weights_of(w, bits))({w}).value().to_vector<float>();
    // Another tanh may be two units off; the codes are NNI's all the same.
    for (size_t i = 0; i < values.size(); ++i) REQUIRE(ulps(got[i], values[i]) <= 2);
  }
}

// N: NNI's one bit gives +-1 without E|w|, and -1 for a zero (its bug D3).
TEST_CASE("weights of one bit: sign times E|w|, gradient whole") {
  const Context c;
  const Floats w = inputs(10, -2, 2, 1);
  double mean = 0;
  for (const float v : w) mean += std::fabs(static_cast<double>(v)) / 10;
  const Variable x(vector_of(c, w), true);
  const auto q = weights_of(x, 1);
  const Floats y = (*q)({x}).value().to_vector<float>();
  const float alpha = static_cast<float>(mean);
  for (size_t i = 0; i < w.size(); ++i) REQUIRE(y[i] == (w[i] >= 0 ? alpha : -alpha));
  REQUIRE(q->grids(2).list[0].scale == alpha);
  REQUIRE(q->codes(x.value()).to_vector<int32_t>() ==
          std::vector<int32_t>{1, -1, 1, -1, -1, 1, -1, 1, 1, -1});
  REQUIRE(backward(*q, x, kUpstream) == kUpstream);
  const Variable zeros(vector_of(c, {0.0f, -0.0f, 3.0f}), true);
  REQUIRE((*weights_of(zeros, 1))({zeros}).value().to_vector<float>() == Floats{1, 1, 1});
}

// N: NNI passes the gradient whole (its bug D2: dW is kUpstream for every number of bits).
TEST_CASE("weights' gradient goes through tanh and the max") {
  const Context c;
  for (const int bits : {2, 4, 8}) {
    const Floats w = inputs(10, -2, 2, 1);
    const Variable x(vector_of(c, w), true);
    const Floats dw = backward(*weights_of(x, bits), x, kUpstream);
    for (size_t i = 0; i < w.size(); ++i) {
      // Differences are good to h^2 f'''; float roundings of dw are below 1e-6.
      REQUIRE(std::fabs(static_cast<double>(dw[i]) - difference(w, kUpstream, i)) < 2e-6);
    }
    // The largest weight has the max's term: without it this would be dy (1 - t^2) / M.
    const double t = std::tanh(static_cast<double>(w[7]));
    REQUIRE(std::fabs(static_cast<double>(dw[7]) -
                      static_cast<double>(kUpstream[7]) * (1 - t * t) / t) > 1e-3);
  }
}

TEST_CASE("weights: zeros, one element, NaN and infinities, denormals") {
  const Context c;
  const auto values = [&](const Floats& w, int bits) {
    const Variable x(vector_of(c, w), true);
    return (*weights_of(x, bits))({x}).value().to_vector<float>();
  };
  for (const float v : values(Floats(5, 0.0f), 4)) REQUIRE(std::isfinite(v));
  REQUIRE(values(Floats(5, 0.0f), 1) == Floats(5, 0.0f));
  REQUIRE(values({-3e30f}, 3) == Floats{-1});
  REQUIRE(values({1e-40f}, 1) == Floats{1e-40f});
  REQUIRE_THROWS_WITH(values({1, NAN}, 2), Contains("NaN"));
  REQUIRE_THROWS_WITH(values({1, INFINITY}, 1), Contains("infinity"));
  REQUIRE_THROWS_WITH(values({}, 2), Contains("empty batch"));
}

TEST_CASE("weights' codes are 2 i - n; more than 7 bits have no integer form, and say so") {
  const Context c;
  const Variable w(vector_of(c, inputs(10, -2, 2, 1)), true);
  REQUIRE(weights_of(w, 2)->codes(w.value()).to_vector<int32_t>() ==
          std::vector<int32_t>{1, -3, 3, -1, -3, 3, -1, 3, 1, -3});
  for (const int bits : {3, 7, 8, 16}) {
    const auto q = weights_of(w, bits);
    const quant_math::Grid g = q->grids(2).list.at(0);
    REQUIRE((g.qmax == (1 << bits) - 1 && g.qmin == -g.qmax && g.zero_point == 0));
    const Floats y = (*q)({w}).value().to_vector<float>();
    const auto codes = q->codes(w.value()).to_vector<int32_t>();
    for (size_t i = 0; i < y.size(); ++i) {
      REQUIRE(codes[i] % 2 != 0);
      REQUIRE(std::fabs(static_cast<double>(codes[i]) / g.qmax - static_cast<double>(y[i])) < 1e-6);
    }
    REQUIRE(q->integer_obstacle().empty() == (bits <= 7));
  }
  REQUIRE_THAT(weights_of(w, 8)->integer_obstacle(), Contains("need 9 bits"));
}

TEST_CASE("activations: values, codes and gradient at and around both bounds") {
  const Context c;
  const float below = std::nextafter(0.0f, -1.0f), above = std::nextafter(1.0f, 2.0f);
  const Floats x{-2, below, -0.0f, 0, 0.1f, 1.0f / 6, 0.5f, 0.9f, 1, above, 7};
  const Floats dy{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  for (const bool codes : {false, true}) {
    const auto q = activations(c, 2, codes);
    const Variable in(vector_of(c, x), true);
    const Variable y = (*q)({in});
    REQUIRE((y.codes() != nullptr) == codes);
    if (codes) {
      REQUIRE(y.codes()->params == QuantParams{1.0f / 3, 0, 0, 3});
      REQUIRE(y.codes()->values.to_vector<uint8_t>() ==
              std::vector<uint8_t>{0, 0, 0, 0, 0, 0, 2, 3, 3, 3, 3});
    } else {
      REQUIRE(y.value().to_vector<float>() ==
              Floats{0, 0, 0, 0, 0, 0, 2.0f / 3, 1, 1, 1, 1});  // 1/6 and 1/2: ties to even codes
    }
    REQUIRE(backward(*q, in, dy) == Floats{0, 0, 3, 4, 5, 6, 7, 8, 9, 0, 0});
    REQUIRE_THROWS_WITH((*q)({Variable(vector_of(c, {0.5f, NAN}))}), Contains("NaN"));
    REQUIRE_THROWS_WITH((*q)({Variable(vector_of(c, {}))}), Contains("empty batch"));
  }
}

TEST_CASE("in words, and what is clipped") {
  const Context c;
  const Variable w(vector_of(c, {-5, 0.5f, 5}), true);
  REQUIRE(activations(c, 1)->describe() == "input, DoReFa, 1 bit");
  REQUIRE(activations(c, 1)->count_clipped(w.value()) == 2);
  REQUIRE(weights_of(w, 4)->describe() == "weight, DoReFa, 4 bits");
  REQUIRE(weights_of(w, 4)->count_clipped(w.value()) == 0);
  REQUIRE(gradient_of(c, 8)->describe() == "gradient, DoReFa, 8 bits");
}

TEST_CASE("gradients: the identity forward, quantized per sample backward") {
  const Context c;
  const auto q = gradient_of(c, 2);
  const Floats dy{0.3f, -0.9f, 0.01f, 0.0f, 0.0f, 0.0f, 50.0f, 12.0f, -3.0f};
  const Variable x(Tensor::full(c, {3, 3}, 4.0f), true);
  const uint64_t before = c.random().next;
  REQUIRE((*q)({x}).value().same_memory(x.value()));
  REQUIRE(c.random().next == before + 1);
  const Floats dx = backward(*q, x, dy);
  for (size_t i = 0; i < dx.size(); ++i) {
    const float m = i < 3 ? 0.9f : i < 6 ? 0.0f : 50.0f;
    const float steps = m == 0 ? 0 : dx[i] / m * 3.0f;  // odd multiples of m / 3
    REQUIRE(std::fabs(steps - std::rint(steps)) < 1e-5f);
    REQUIRE((m == 0 || std::lround(steps) % 2 != 0));
    REQUIRE(std::fabs(dx[i] - dy[i]) <= m * (2.0f / 3) * 1.001f);  // half a step and its noise
  }
  REQUIRE((dx[1] == -0.9f && dx[6] == 50.0f));  // the largest of a sample stays
}

TEST_CASE("gradients are unbiased: the mean over many draws is the gradient") {
  const Context c;
  const int n = 4000;
  for (const int bits : {1, 2, 4, 8}) {
    const auto q = gradient_of(c, bits);
    const Floats dy{1.0f, 0.77f, 0.3f, 0.0f, -0.011f, -0.5f};
    std::vector<double> sum(dy.size());
    for (int k = 0; k < n; ++k) {
      const Variable x(Tensor::zeros(c, {1, 6}), true);
      const Floats dx = backward(*q, x, dy);
      for (size_t i = 0; i < dy.size(); ++i) sum[i] += static_cast<double>(dx[i]);
    }
    // A draw is one of two neighbours, a step of 2 / (2^k - 1) apart: its deviation is half a step
    // at most, the mean's sqrt(n) less. Five of them: one false alarm in 10^6.
    const double step = 2.0 / ((1 << bits) - 1);
    for (size_t i = 0; i < dy.size(); ++i)
      REQUIRE(std::fabs(sum[i] / n - static_cast<double>(dy[i])) < 5 * step / 2 / std::sqrt(n));
  }
}

TEST_CASE("gradients: the same key gives the same bits, another key others") {
  const Floats dy = inputs(60, -1, 1, 3);
  const auto run = [&](uint64_t seed, uint64_t stream, int threads) {
    ContextOptions options;
    options.seed = seed;
    options.threads = threads;
    const Context c(options);
    c.random().next = stream;
    const Variable x(Tensor::zeros(c, {4, 15}), true);
    return backward(*gradient_of(c, 3), x, dy);
  };
  REQUIRE(run(1, 5, 1) == run(1, 5, 2));
  REQUIRE(run(1, 5, 1) != run(1, 6, 1));
  REQUIRE(run(1, 5, 1) != run(2, 5, 1));
}

TEST_CASE("gradients stay whole in evaluation, during the float warm-up, and draw nothing then") {
  const Context c;
  const Variable x(Tensor::zeros(c, {1, 3}), true);
  const auto q = gradient_of(c, 2);
  q->eval();
  REQUIRE((*q)({x}).same(x));
  q->train();
  {
    const NoGrad none;
    REQUIRE((*q)({x}).same(x));
  }
  QuantSpec late = bits_of(2);
  late.start_step = 2;
  DorefaGradient warm(c, {QuantType::kGradient, late, 0, true});
  REQUIRE(warm({x}).same(x));
  REQUIRE(c.random().next == 0);
  warm.set_steps(2);
  REQUIRE(!warm({x}).same(x));
}

TEST_CASE("bit widths by type; layers on codes; the gradient slot stands at the result") {
  DigitsRun run("DoReFaQuantizer", R"([{"quant_types": ["weight", "input", "gradient"],
      "quant_bits": {"weight": 1, "input": 2, "gradient": 4}, "op_names": ["conv2", "fc?"]},
      {"exclude": true, "op_names": ["fc3"]}])");
  std::map<std::string, int> bits;
  for (const QuantPoint& p : run.quantizer->points())
    bits[p.module + " " + p.quantizer->path()] = p.quantizer->spec().bits;
  REQUIRE(bits == std::map<std::string, int>{{"conv2 conv2.weight_fake_quant", 1},
                                             {"conv2 conv2.input_fake_quant", 2},
                                             {"conv2 conv2.gradient_fake_quant", 4},
                                             {"fc1 fc1.weight_fake_quant", 1},
                                             {"fc1 relu2.activation_post_process", 2},
                                             {"fc1 fc1.gradient_fake_quant", 4},
                                             {"fc2 fc2.weight_fake_quant", 1},
                                             {"fc2 relu3.activation_post_process", 2},
                                             {"fc2 fc2.gradient_fake_quant", 4}});
  for (const char* layer : {"conv2", "fc1", "fc2"})
    REQUIRE(run.quantizer->integer_obstacle(layer).empty());
  REQUIRE(run.quantizer->warnings().empty());
}

TEST_CASE("a layer on codes has the quantized gradient, as one on floats") {
  for (const bool integer : {true, false}) {
    Context c;
    auto net = make<Sequential>(c);
    net->append("fc", make<Linear>(c, 6, 9));
    QuantizerOptions options;
    options.integer = integer;
    DorefaQuantizer quantizer(*net, R"([{"quant_types": ["weight", "input", "gradient"],
        "quant_bits": 2, "op_types": ["Linear"]}])",
                              nullptr, Tensor::zeros(c, {1, 6}), options);
    quantizer.compress();
    REQUIRE(quantizer.chains().size() == (integer ? 1 : 0));
    Variable y = (*net)(Variable(Tensor::from(c, Shape{1, 6}, inputs(6, 0, 1, 1))));
    const Floats dy = inputs(9, -2, 1, 5);
    y.backward(Tensor::from(c, Shape{1, 9}, dy));
    float m = 0;
    for (const float v : dy) m = std::max(m, std::fabs(v));
    // One sample: the bias has the gradient itself.
    const Floats db = dynamic_cast<Linear&>(*net->find("fc")).bias.grad().to_vector<float>();
    for (size_t i = 0; i < db.size(); ++i) {
      const float steps = db[i] / m * 3.0f;
      REQUIRE(std::fabs(steps - std::rint(steps)) < 1e-5f);
      REQUIRE(std::lround(steps) % 2 != 0);
    }
    REQUIRE(db != dy);
  }
}

TEST_CASE("a layer computes the same on integers as on floats, backward too") {
  for (const auto& [weight_bits, input_bits] : std::map<int, int>{{1, 2}, {2, 1}, {3, 4}, {7, 8}}) {
    CAPTURE(weight_bits, input_bits);
    const std::string config = R"([{"op_types": ["Linear"], "quant_types": ["weight", "input"],
        "quant_bits": {"weight": )" +
                               std::to_string(weight_bits) + R"(, "input": )" +
                               std::to_string(input_bits) + "}}]";
    Floats y[2], dx[2], dw[2];
    float unit = 0;
    for (const bool integer : {true, false}) {
      Context c;
      auto net = make<Sequential>(c);
      auto fc = make<Linear>(c, 40, 9);
      net->append("fc", fc);
      fc->weight.mutable_value() = Tensor::from(c, Shape{9, 40}, inputs(360, -1.2, 0.9, 3));
      fc->bias.mutable_value() = vector_of(c, inputs(9, -1, 1, 5));
      QuantizerOptions options;
      options.integer = integer;
      DorefaQuantizer quantizer(*net, config, nullptr, Tensor::zeros(c, {1, 40}), options);
      quantizer.compress();
      REQUIRE(quantizer.chains().size() == (integer ? 1 : 0));
      const Variable x(Tensor::from(c, Shape{5, 40}, inputs(200, -0.3, 1.3, 7)), true);
      Variable out = (*net)(x);
      y[integer] = out.value().to_vector<float>();
      out.backward(Tensor::from(c, Shape{5, 9}, inputs(45, -1, 1, 11)));
      dx[integer] = x.grad().to_vector<float>();
      dw[integer] = fc->weight.grad().to_vector<float>();
      const float s_w = quantizer.points()[0].quantizer->grids(2).list[0].scale;
      unit = s_w / static_cast<float>((1 << input_bits) - 1) /
             static_cast<float>(1 << (7 - weight_bits));
    }
    // Biases are whole steps of the accumulator; the rest is float rounding of sums of 40.
    for (size_t i = 0; i < y[0].size(); ++i)
      REQUIRE(std::fabs(y[0][i] - y[1][i]) <= 0.5f * unit + 1e-5f);
    for (size_t i = 0; i < dx[0].size(); ++i) REQUIRE(std::fabs(dx[0][i] - dx[1][i]) < 1e-5f);
    for (size_t i = 0; i < dw[0].size(); ++i) REQUIRE(std::fabs(dw[0][i] - dw[1][i]) < 1e-5f);
  }
}

TEST_CASE("8-bit weights train on the float path, with a warning that says why") {
  DigitsRun run("DoReFaQuantizer", R"([{"quant_types": ["weight", "input"], "quant_bits": 8,
      "op_names": ["fc1"]}])");
  REQUIRE(run.quantizer->chains().empty());
  REQUIRE(run.quantizer->warnings().size() == 1);
  REQUIRE_THAT(run.quantizer->warnings()[0], Contains("fc1") && Contains("need 9 bits"));
}

TEST_CASE("what DoReFa does not have is refused by name") {
  const auto compress = [](const std::string& config) {
    const Context c;
    Model model = make_model("lenet5", c);
    DorefaQuantizer(*model.module, config).compress();
  };
  const std::string head = R"([{"op_types": ["Conv2d"], "quant_types": ["weight"], )";
  REQUIRE_NOTHROW(compress(head + R"("quant_bits": 1}])"));
  REQUIRE_THROWS_WITH(compress(head + R"("quant_bits": 17}])"), Contains("from 1 to 16"));
  REQUIRE_THROWS_WITH(compress(head + R"("quant_bits": 0}])"), Contains("from 1 to 16"));
  REQUIRE_THROWS_WITH(compress(head + R"("quant_bits": 2, "quant_scheme": "per_tensor_affine"}])"),
                      Contains("quant_scheme"));
  REQUIRE_THROWS_WITH(compress(R"([{"op_types": ["Conv2d"], "quant_types": ["bias"],
                                   "quant_bits": 2}])"),
                      Contains("weight, input, output, gradient"));
  REQUIRE_THROWS_WITH(compress(R"([{"op_types": ["ReLU"], "quant_types": ["gradient"],
                                   "quant_bits": 2}])"),
                      Contains("Conv2d or Linear"));
  const Context c;
  Model model = make_model("lenet5", c);
  DorefaQuantizer q(*model.module, "[]");
  REQUIRE_THROWS_WITH(q.set_quant_scheme_dtype("weight", "per_tensor_affine", "int"),
                      Contains("DoReFaQuantizer"));
}

TEST_CASE("ranges are fixed: the same ones load, others are refused") {
  const Context c;
  const auto q = activations(c, 3);
  REQUIRE((q->ranges()[0].low == 0.0f && q->ranges()[0].high == 1.0f));
  REQUIRE_NOTHROW(q->set_ranges({{0.0f, 1.0f}}));
  REQUIRE_THROWS_WITH(q->set_ranges({{0.0f, 2.0f}}), Contains("0 .. 1") && Contains("0 .. 2"));
}

TEST_CASE("a layer shared by two paths is quantized at both") {
  const Context c;
  auto shared = make<Linear>(c, 4, 4);
  auto net = make<Sequential>(c);
  net->append("a", shared).append("relu", make_relu(c)).append("b", shared);
  DorefaQuantizer quantizer(*net, R"([{"quant_types": ["weight", "input", "gradient"],
      "quant_bits": 2, "op_types": ["Linear"]}])",
                            nullptr, Tensor::zeros(c, {1, 4}));
  quantizer.compress();
  REQUIRE(quantizer.points().size() == 3);
  Variable y = (*net)(Variable(Tensor::from(c, Shape{1, 4}, inputs(4, 0, 1, 1))));
  y.backward(Tensor::full(c, {1, 4}, 1.0f));
  REQUIRE(shared->weight.grad().defined());
  REQUIRE(c.random().next >= 2);  // noise for each use
}

// N after the first step: NNI's gradient skips tanh and max. PyTorch's autograd of the paper's
// formula gives the next losses.
TEST_CASE("loss trace of two-bit weights: NNI's first loss, then the chain rule's (case G25)") {
  QuantizerOptions options;
  options.integer = false;
  GoldenNet net("DoReFaQuantizer", R"([{"quant_types": ["weight"], "quant_bits": 2,
      "op_types": ["Conv2d", "Linear"]}])",
                options);
  // Losses agree to 1e-3 as long as no code falls to the other side of a tie.
  REQUIRE(net.step(0) == Approx(4.903320789337158).epsilon(1e-3));
  REQUIRE(net.step(1) == Approx(2.011704206466675).epsilon(1e-3));  // NNI: 5.0708
  REQUIRE(net.step(2) == Approx(4.3614397048950195).epsilon(1e-3));
}

TEST_CASE("LeNet-5 learns digits with 1-bit weights, 2-bit activations, 4-bit gradients") {
  DigitsRun run("DoReFaQuantizer", R"([{"quant_types": ["weight", "input", "gradient"],
      "quant_bits": {"weight": 1, "input": 2, "gradient": 4}, "op_names": ["conv2", "fc1", "fc2"]}])");
  const float first = run.epoch();
  for (int k = 0; k < 3; ++k) run.epoch();
  REQUIRE(run.epoch() < 0.5f * first);
}
