// DoReFa's and BNN's activations in the epilogue of a chain, against the same layers on floats.
#include <catch2/catch.hpp>
#include <cmath>

#include "quant/bnn.h"
#include "quant/dorefa.h"
#include "tensor/safetensors.h"
#include "test/quant/golden_net.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;

namespace {

using Floats = std::vector<float>;

// Convolution(3, 8, 3) - [max pooling] - batch norm - activation, with a quantized input and
// output.
struct Layer {
  Layer(const std::string& quantizer_name, const std::string& bits, const ModulePtr& act,
        bool integer, const std::string& keys = "", bool pool = false)
      : context(act->context()), net(make<Sequential>(context)) {
    Conv2dArgs args{3, 8, 3};
    args.padding = 1;
    conv = make<Conv2d>(context, args);
    norm = make<BatchNorm>(context, 8, 2);
    net->append("conv", conv);
    if (pool) net->append("pool", make<MaxPool2d>(context, Pool2dOptions{2, 2, 2, 2}));
    net->append("norm", norm).append("act", act);
    GoldenNet::initialise(conv->weight.mutable_value(), 3);
    // Exact in float beside sums of signs: equal sums stay equal.
    set(conv->bias, {0.25f, -0.125f, 0, 0.5f, -0.25f, 0.375f, 0.125f, -0.5f});
    set(norm->weight, {1, -0.5f, 0.25f, -2, 0, 1.5f, -1, 0.75f});
    set(norm->bias, {0, 0.25f, -0.1f, 0, -0.5f, 0.5f, 0, 0});
    QuantizerOptions options;
    options.integer = integer;
    const std::string config =
        R"([{"quant_types": ["weight", "input"], "op_types": ["Conv2d"], "quant_bits": )" + bits +
        keys + R"(}, {"quant_types": ["output"], "op_names": ["act"], "quant_bits": )" + bits +
        "}]";
    quantizer = make_quantizer(quantizer_name, *net, config, nullptr,
                               Tensor::zeros(context, {1, 6, 5, 3}), options);
    quantizer->compress();
  }
  static void set(Variable& v, const Floats& values) {
    v.mutable_value() = Tensor::from(v.context(), v.shape(), values);
  }
  Variable input() const {
    return Variable(Tensor::from(context, Shape{7, 6, 5, 3}, inputs(630, -1.3, 1.2, 5)), true);
  }
  static Tensor upstream(const Variable& y) {
    return Tensor::from(y.context(), y.shape(), inputs(y.value().numel(), -1, 1, 7));
  }

  Context context;
  std::shared_ptr<Sequential> net;
  std::shared_ptr<Conv2d> conv;
  std::shared_ptr<BatchNorm> norm;
  std::unique_ptr<Quantizer> quantizer;
};

double largest(const Floats& a) {
  double m = 0;
  for (const float v : a) m = std::max(m, std::fabs(static_cast<double>(v)));
  return m;
}

// Largest difference, as a share of the largest value.
double difference(const Tensor& a, const Tensor& b) {
  Floats x = a.to_vector<float>(), y = b.to_vector<float>();
  const double scale = largest(y);
  for (size_t i = 0; i < x.size(); ++i) x[i] -= y[i];
  return largest(x) / scale;
}

// Integer biases are 1/64 of a weight's step off or less, so results are, and sums over them. But a
// result at the edge of the mask may change sides: then one of the 210 gradients of a channel is
// another, a few percent of the largest sum. most_off, edge: codes and gradients that may differ.
void compare(Layer& codes, Layer& floats, int64_t most_off, double edge) {
  REQUIRE(codes.quantizer->chains().size() == 1);
  REQUIRE(codes.quantizer->chains()[0]->output != nullptr);
  REQUIRE(floats.quantizer->chains().empty());
  const Variable x = codes.input(), z = floats.input();
  Variable y = (*codes.net)(x), v = (*floats.net)(z);
  REQUIRE(y.codes() != nullptr);
  REQUIRE(v.codes() == nullptr);
  int64_t off = 0;
  for (int64_t i = 0; i < y.value().numel(); ++i)
    off += std::fabs(y.value().data<float>()[i] - v.value().data<float>()[i]) > 1e-6f;
  REQUIRE(off <= most_off);
  y.backward(Layer::upstream(y));
  v.backward(Layer::upstream(v));
  REQUIRE(difference(x.grad(), z.grad()) < edge);
  REQUIRE(difference(codes.conv->weight.grad(), floats.conv->weight.grad()) < edge);
  REQUIRE(difference(codes.norm->weight.grad(), floats.norm->weight.grad()) < edge);
  REQUIRE(difference(codes.norm->bias.grad(), floats.norm->bias.grad()) < edge);
  REQUIRE(difference(*codes.norm->running_mean, *floats.norm->running_mean) < 1e-5);
  REQUIRE(difference(*codes.norm->running_var, *floats.norm->running_var) < 1e-5);
}

}  // namespace

TEST_CASE("a binary chain: signs and gradients are those of the layers on floats") {
  for (const bool hard : {true, false}) {
    for (const char* keys : {"", R"(, "xnor_scale": true)", R"(, "padding_value": 1)"}) {
      CAPTURE(hard, keys);
      const Context c;
      const auto act = [&] { return hard ? make_hardtanh(c) : make_hardtanh(c, -9.0f, 9.0f); };
      Layer codes("BNNQuantizer", "1", act(), true, keys);
      Layer floats("BNNQuantizer", "1", act(), false, keys);
      compare(codes, floats, 0, 0.02);
    }
  }
}

// NNI's order. Sums of signs tie often; and where gamma is negative the smallest sum counts.
TEST_CASE("a binary chain with max pooling before the batch norm") {
  const Context c;
  Layer codes("BNNQuantizer", "1", make_hardtanh(c), true, "", true);
  Layer floats("BNNQuantizer", "1", make_hardtanh(c), false, "", true);
  compare(codes, floats, 0, 0.02);
  REQUIRE(codes.quantizer->chains()[0]->pool != nullptr);
}

TEST_CASE("the sign behind a ReLU is +1, as it is on floats") {
  const Context c;
  Layer codes("BNNQuantizer", "1", make_relu(c), true),
      floats("BNNQuantizer", "1", make_relu(c), false);
  compare(codes, floats, 0, 0.02);
}

TEST_CASE("a DoReFa chain: codes and gradients are those of the layers on floats") {
  for (const char* bits : {"1", "2", "4", "7"}) {
    CAPTURE(bits);
    const Context c;
    Layer codes("DoReFaQuantizer", bits, make_relu(c), true);
    Layer floats("DoReFaQuantizer", bits, make_relu(c), false);
    compare(codes, floats, 17, 0.06);  // 1 % of 1680: biases of up to 1/128 of a weight's step
  }
}

TEST_CASE("a sum of zero has the sign +1, whatever the sign of gamma") {
  const Context c;
  Layer layer("BNNQuantizer", "1", make_hardtanh(c), true);
  layer.net->eval();
  Layer::set(layer.norm->bias, Floats(8, 0.0f));
  // Means that sums of 27 signs and zeros reach: u is exactly 0 there.
  const Floats means{0, 1, -2, 3, 4, -5, 6, -7};
  *layer.norm->running_mean = Tensor::from(c, Shape{8}, means);
  const Variable x = layer.input();
  Layer::set(layer.conv->bias, Floats(8, 0.0f));
  const Floats y = (*layer.net)(x).value().to_vector<float>();
  const auto sign = [](float v) { return v >= 0 ? 1 : -1; };
  const Floats w = layer.conv->weight.value().to_vector<float>();
  const Floats gamma = layer.norm->weight.value().to_vector<float>();
  int zeros = 0;
  for (int n = 0; n < 7 * 30; ++n) {
    const int h = n / 5 % 6, l = n % 5;
    for (int o = 0; o < 8; ++o) {
      int sum = 0;
      for (int t = 0; t < 27; ++t) {
        const int i = h + t / 9 - 1, j = l + t / 3 % 3 - 1;
        if (i < 0 || i >= 6 || j < 0 || j >= 5) continue;
        sum += sign(w[o * 27 + t]) *
               sign(x.value().data<float>()[((n / 30 * 6 + i) * 5 + j) * 3 + t % 3]);
      }
      const float u = gamma[o] * (static_cast<float>(sum) - means[o]);
      zeros += sum == static_cast<int>(means[o]);
      REQUIRE(y[n * 8 + o] == (u >= 0 ? 1.0f : -1.0f));
    }
  }
  REQUIRE(zeros > 50);
}

TEST_CASE("the export of a binary chain is its integer form: odd biases, multiplier 1") {
  const TempFolder folder;
  const Context c;
  Layer layer("BNNQuantizer", "1", make_hardtanh(c), true);
  (*layer.net)(layer.input());
  layer.quantizer->export_model(folder / "m");
  const TensorFile file = load_safetensors(c, folder / "m");
  for (const int32_t b : file.tensors.at("conv.integer.bias_codes").to_vector<int32_t>())
    REQUIRE(b % 2 != 0);
  REQUIRE(file.tensors.at("conv.integer.multiplier").to_vector<float>() == Floats(8, 1.0f));
  REQUIRE(file.tensors.at("conv.integer.output_code_range").to_vector<int32_t>() ==
          std::vector<int32_t>{0, 2});
  REQUIRE(file.tensors.at("conv.integer.output_zero_point").item<int32_t>() == 1);
  for (const int8_t code : file.tensors.at("conv.integer.weight_codes").to_vector<int8_t>())
    REQUIRE((std::abs(code) == 64 || code == 0));  // 0: gamma is 0
}

TEST_CASE("random signs and ApproxSign stand behind the chain") {
  for (const char* key : {R"("binarization": "stochastic")", R"("sign_gradient": "approx_sign")"}) {
    const Context c;
    auto net = make<Sequential>(c);
    net->append("a", make<Linear>(c, 4, 4)).append("act", make_hardtanh(c));
    net->append("b", make<Linear>(c, 4, 4));
    BnnQuantizer quantizer(*net,
                           std::string(R"([{"op_types": ["Linear", "Hardtanh"],
        "quant_types": ["weight", "input"], "quant_bits": 1, "op_names": ["a", "b"]},
        {"op_names": ["act"], "quant_types": ["output"], "quant_bits": 1, )") +
                               key + "}]",
                           nullptr, Tensor::zeros(c, {1, 4}));
    quantizer.compress();
    REQUIRE(quantizer.chains().size() == 2);
    REQUIRE(quantizer.chains()[0]->output == nullptr);
    REQUIRE(quantizer.integer_obstacle("b").empty());
    const Variable x(Tensor::from(c, Shape{5, 4}, inputs(20, -1, 1, 3)), true);
    Variable y = (*net)(x);
    y.backward(Tensor::full(c, {5, 4}, 1.0f));
    REQUIRE(x.grad().defined());
  }
}
