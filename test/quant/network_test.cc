// A whole network on codes: convolution, pooling, flatten, linear, against plain scalar arithmetic.
#include <catch2/catch.hpp>

#include "autograd/ops.h"
#include "nn/optimizer.h"
#include "nn/zoo/zoo.h"
#include "tensor/memory.h"
#include "test/quant/chain_oracle.h"

using namespace halftone;
using namespace halftone::test;

namespace {

const char* const kConfig = R"([{"quant_types": ["weight", "input"], "quant_bits": 8,
  "op_types": ["Conv2d", "Linear"], "quant_dtype": {"weight": "int", "input": "uint"},
  "quant_scheme": {"weight": "per_channel_symmetric", "input": "per_tensor_affine"}}])";

LayerOracle layer(const std::map<std::string, Tensor>& state, const std::string& name,
                  const Shape& w_shape, const Variable& weight) {
  LayerOracle o;
  o.w_shape = w_shape;
  o.weight = weight.value().to_vector<float>();  // OHWI
  o.bias = state.at(name + ".bias").to_vector<float>();
  return o;
}

void set_input(LayerOracle& o, const std::map<std::string, Tensor>& state,
               const std::string& quantizer) {
  o.x_scale = static_cast<double>(state.at(quantizer + ".scale").item<float>());
  o.x_zero = state.at(quantizer + ".zero_point").item<int32_t>();
}

// (N, 8, 10, 6) codes: 2 x 2 maxima, then PyTorch's (C, H, W) order.
std::vector<int64_t> pool_and_flatten(const std::vector<int64_t>& codes, int64_t n) {
  std::vector<int64_t> out;
  for (int64_t b = 0; b < n; ++b)
    for (int64_t c = 0; c < 6; ++c)
      for (int64_t i = 0; i < 4; ++i)
        for (int64_t j = 0; j < 5; ++j) {
          int64_t most = 0;
          for (int64_t a = 0; a < 4; ++a) {
            most = std::max(most, codes[((b * 8 + 2 * i + a / 2) * 10 + 2 * j + a % 2) * 6 + c]);
          }
          out.push_back(most);
        }
  return out;
}

}  // namespace

TEST_CASE(
    "conv - batch norm - ReLU - pool - flatten - linear gives the oracle's logits, bit for bit") {
  const Context c;
  auto net = make<Sequential>(c);
  auto conv = make<Conv2d>(c, Conv2dArgs{3, 6, 3, 1, 1});
  auto norm = make<BatchNorm>(c, 6, 2);
  auto fc = make<Linear>(c, 120, 7);
  net->append("conv", conv).append("norm", norm).append("relu", make_relu(c));
  net->append("pool", make<MaxPool2d>(c, pool_options(2)))
      .append("flatten", make<Flatten>(c))
      .append("fc", fc);
  norm->weight.mutable_value().copy_from(spread(c, {6}, -1.2f, 1.5f, 3));
  norm->bias.mutable_value().copy_from(spread(c, {6}, -0.5f, 0.5f, 5));
  auto q = make_quantizer("QAT_Quantizer", *net, kConfig, nullptr, Tensor::zeros(c, {1, 8, 10, 3}));
  q->compress();
  for (const bool train : {true, false}) {
    net->train(train);
    const Tensor x = spread(c, {4, 8, 10, 3}, -1.0f, 1.0f, 7);
    const auto mean = norm->running_mean->to_vector<float>(),
               variance = norm->running_var->to_vector<float>();
    const std::vector<float> logits = (*net)(Variable(x)).value().to_vector<float>();
    const auto state = net->state_dict();
    LayerOracle first = layer(state, "conv", {6, 3, 3, 3}, conv->weight);
    first.x_shape = {4, 8, 10, 3};
    first.options.pad_h = first.options.pad_w = 1;
    first.norm = true;
    first.training = train;
    first.gamma = norm->weight.value().to_vector<float>();
    first.beta = norm->bias.value().to_vector<float>();
    first.running_mean = mean;
    first.running_var = variance;
    first.act_low = 0;
    set_input(first, state, "conv.input_fake_quant");
    for (const float v : x.to_vector<float>()) {
      first.x_codes.push_back(
          clamp64(nearest_even(v / static_cast<float>(first.x_scale)) + first.x_zero, 0, 255));
    }
    first.y_scale = state.at("relu.activation_post_process.scale").item<float>();
    first.y_zero = state.at("relu.activation_post_process.zero_point").item<int32_t>();
    first.run();
    LayerOracle second = layer(state, "fc", {7, 1, 1, 120}, fc->weight);
    second.x_shape = {4, 1, 1, 120};
    set_input(second, state, "relu.activation_post_process");
    second.x_codes = pool_and_flatten(first.codes, 4);
    second.run();
    REQUIRE(logits == second.reals);
  }
}

TEST_CASE("a quantized step allocates nothing once its plan is known") {
  const Context c;
  Model model = make_model("lenet5", c);
  auto q = make_quantizer("QAT_Quantizer", *model.module, kConfig, nullptr,
                          Tensor::zeros(c, model.batch_shape(1)));
  q->compress();
  ParameterStore store(*model.module);
  auto optimizer = make_optimizer(store, {});
  const Tensor x = spread(c, model.batch_shape(4), -1, 1),
               labels = Tensor::zeros(c, {4}, DType::kInt64);
  uint64_t before = 0;
  for (int k = 0; k < 6; ++k) {
    if (k == 3) before = c.memory().stats().heap_allocations;
    const MemoryStep step(c.memory(), "train");
    optimizer->zero_grad();
    cross_entropy((*model.module)(Variable(x)), labels).backward();
    optimizer->step();
    q->advance_step();
  }
  REQUIRE(c.memory().stats().heap_allocations == before);
}
