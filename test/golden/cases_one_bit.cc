// G19: DoReFa's weights. G20: binary weights and activations.
#include <cmath>

#include "autograd/ops.h"
#include "nn/layers.h"
#include "test/golden/cases.h"
#include "test/golden/reference_quantize.h"
#include "test/golden/run_layer.h"

namespace halftone::golden {
namespace {

ConfigList weights_of(int bits) {
  ConfigValues entry;
  entry.quant_types = {"weight"};
  entry.quant_bits = bits;
  entry.op_types = {"Linear"};
  return std::vector<ConfigValues>{entry};
}

Json dorefa(int bits, const Inputs& in) {
  const Context context;
  auto model = make<Sequential>(context);
  const auto linear = make<Linear>(context, 5, 2, false);
  linear->load_state_dict({{"weight", in.tensor(context, {2, 5}, -2, 2, 1)}});
  model->append(linear);
  const auto quantizer = quantize_as_nni("DoReFaQuantizer", *model, weights_of(bits));
  Variable y = (*model)(Variable(in.activation(context, {3, 5}, -1, 1, 3)));
  y.backward(in.activation(context, {3, 2}, -1, 1, 7));
  return {{"w", numbers(linear->weight_transform()(linear->weight).value().to_vector<float>())},
          {"dW", numbers(linear->weight.grad().to_vector<float>())}};
}

Json g19(const Inputs& in) {
  Json out = {{"latent", numbers(in.g(10, -2, 2, 1))}, {"cases", Json::object()}};
  for (const int bits : {1, 2, 3, 4, 8}) out["cases"][std::to_string(bits)] = dorefa(bits, in);
  return out;
}

// d loss / d w_q = up' x.
reference::Values upstream_of_weight(const Inputs& in) {
  const auto x = in.g(15, -1, 1, 3), up = in.g(6, -1, 1, 7);
  reference::Values d;
  for (int at = 0; at < 10; ++at) {
    double sum = 0;
    for (int n = 0; n < 3; ++n) sum += double{up[n * 2 + at / 5]} * double{x[n * 5 + at % 5]};
    d.push_back(static_cast<float>(sum));
  }
  return d;
}

Json g19_right(const Inputs& in) {
  const reference::Values w = in.g(10, -2, 2, 1), d = upstream_of_weight(in);
  double mean = 0;
  for (const float v : w) mean += std::fabs(double{v}) / 10;
  Json one = Json::array();
  for (const float v : w) one.push_back(v < 0 ? -mean : mean);
  Json out = {{"latent", numbers(w)}, {"cases", {{"1", {{"w", one}, {"dW", numbers(d)}}}}}};
  for (const int bits : {2, 3, 4, 8}) {
    reference::DorefaQuantizer q(bits);
    out["cases"][std::to_string(bits)] = {{"w", numbers(q.forward(w, true))},
                                          {"dW", numbers(q.backward(d, w))}};
  }
  return out;
}

// Gradients are sums of a few products of numbers below 1, which may cancel.
Json g19_terms(const Inputs&) {
  Json out = Json::object();
  for (const char* bits : {"1", "2", "3", "4", "8"})
    out["cases"][bits] = {{"dW", std::vector<double>(10, 1.0)}};
  return out;
}

// Linear(4, 3) with zeros of both signs among its weights, then a Hardtanh whose second row of
// inputs lies exactly on its edge.
Json g20(const Inputs&) {
  const Context context;
  auto model = make<Sequential>(context);
  const auto linear = make<Linear>(context, 4, 3, false);
  const std::vector<float> w = {0.0f,  3.0f, 0.5f, -3.0f, -0.0f, 0.2f,
                                -1.0f, 0.7f, 3.0f, -0.4f, 0.0f,  1.0f};
  linear->load_state_dict({{"weight", Tensor::from(context, Shape{3, 4}, w)}});
  model->append(linear);
  model->append(make_hardtanh(context));
  ConfigValues weight, output;
  weight.quant_types = {"weight"};
  weight.op_names = {"0"};
  output.quant_types = {"output"};
  output.op_names = {"1"};
  weight.quant_bits = output.quant_bits = 1;
  const auto quantizer =
      quantize_as_nni("BNNQuantizer", *model, std::vector<ConfigValues>{weight, output});
  const std::vector<float> rows = {0.25f, 0.0f, 0.0f,  0.0f, 1.0f, 0.0f,
                                   0.0f,  0.0f, -0.1f, 0.2f, 0.3f, -0.2f};
  const Variable x(Tensor::from(context, Shape{3, 4}, rows), true);
  Variable y = (*model)(x);
  y.backward(Tensor::from(context, Shape{3, 3}, std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9}));
  return {{"y", numbers(y.value().to_vector<float>())},
          {"w", numbers(linear->weight_transform()(linear->weight).value().to_vector<float>())},
          {"dW", numbers(linear->weight.grad().to_vector<float>())},
          {"dx", numbers(x.grad().to_vector<float>())}};
}

}  // namespace

std::vector<Case> one_bit_cases() {
  return {{"G19",
           "DoReFa weights of 1, 2, 3, 4 and 8 bits",
           {{"cases/1/w/*", Nearness::kOurs, 0,
             "NNI's one bit has no E|w| and takes 0 for -1 (D3); ours is sign(w) E|w|"},
            {"cases/*/dW/*", Nearness::kOurs, 1e-6,
             "NNI's gradient skips tanh and the normalisation (D2); ours has the chain rule, the "
             "max included"},
            {"cases/*/w/*", Nearness::kUlp, 2},
            {"*"}},
           g19,
           g19_right,
           g19_terms},
          {"G20",
           "binary weights and activations, zeros and the edges of Hardtanh",
           {{"dW/*", Nearness::kLargest, 1e-6}, {"dx/*", Nearness::kLargest, 1e-6}, {"*"}},
           g20}};
}

}  // namespace halftone::golden
