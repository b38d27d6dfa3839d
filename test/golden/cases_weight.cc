// G02 to G05: a quantized weight, one forward and backward of QAT_Quantizer.
#include "autograd/ops.h"
#include "nn/layers.h"
#include "test/golden/cases.h"
#include "test/golden/run_layer.h"

namespace halftone::golden {
namespace {

struct WeightCase {
  bool conv;
  int bits;
  const char *dtype, *scheme;
};

// Linear(4, 3), or Conv2d(2, 3, 3) whose output channels have magnitudes .1, 1 and 3.
std::shared_ptr<WeightLayer> layer_for(const WeightCase& c, const Context& context,
                                       const Inputs& in) {
  if (!c.conv) {
    auto linear = make<Linear>(context, 4, 3);
    linear->load_state_dict({{"weight", in.tensor(context, {3, 4}, -1.1, 0.9, 1)},
                             {"bias", in.tensor(context, {3}, -0.2, 0.2, 3)}});
    return linear;
  }
  Conv2dArgs args;
  args.in_channels = 2;
  args.out_channels = 3;
  args.bias = false;
  auto conv = make<Conv2d>(context, args);
  std::vector<float> w = in.g(54, -0.7, 1.3, 2);
  const float magnitude[] = {0.1f, 1.0f, 3.0f};
  for (size_t i = 0; i < w.size(); ++i) w[i] *= magnitude[i / 18];
  conv->load_state_dict({{"weight", Tensor::from(context, Shape{3, 2, 3, 3}, w)}});
  return conv;
}

Json grid_of(const FakeQuantize& q, const Tensor& weight) {
  std::vector<float> scales, zero_points;
  for (const quant_math::Grid& g : q.grids(weight.rank()).list) {
    scales.push_back(g.scale);
    zero_points.push_back(static_cast<float>(g.zero_point));
  }
  Json shape = Json::array({scales.size()});
  for (int i = 1; q.spec().per_channel && i < weight.rank(); ++i) shape.push_back(1);
  return {{"scale", numbers(scales)}, {"zp", numbers(zero_points)}, {"shape", shape}};
}

Json run(const WeightCase& c, const Inputs& in) {
  const Context context;
  auto model = make<Sequential>(context);
  const auto layer = layer_for(c, context, in);
  model->append(layer);
  ConfigValues entry;
  entry.quant_types = {"weight"};
  entry.quant_bits = c.bits;
  entry.op_names = {"0"};
  entry.quant_dtype = ByType<std::string>(c.dtype);
  entry.quant_scheme = ByType<std::string>(c.scheme);
  const auto quantizer = quantize_as_nni("QAT_Quantizer", *model, std::vector<ConfigValues>{entry});

  const Tensor x = c.conv ? in.activation(context, {1, 2, 5, 5}, -1, 2, 5)
                          : in.activation(context, {2, 4}, -1, 2, 5);
  Variable y = (*model)(Variable(x));
  const Shape shape = to_torch(y.value()).shape();
  y.backward(in.activation(context, shape, -1, 1, 7));

  FakeQuantize& q = *quantizer->points().at(0).quantizer;
  Json out = grid_of(q, layer->weight.value());
  out["weight"] = numbers(torch_values(q({layer->weight}).value()));
  out["y"] = numbers(torch_values(y.value()));
  out["dW"] = numbers(torch_values(layer->weight.grad()));
  out["db"] = layer->bias.defined() ? numbers(layer->bias.grad().to_vector<float>()) : Json();
  return out;
}

Case weight_case(const std::string& id, const std::string& what, const WeightCase& c) {
  return {id,
          what,
          {{"y/*", Nearness::kLargest, 1e-6},
           {"dW/*", Nearness::kLargest, 1e-6},
           {"db/*", Nearness::kLargest, 1e-6},
           {"*"}},
          [c](const Inputs& in) { return run(c, in); }};
}

}  // namespace

std::vector<Case> weight_cases() {
  return {weight_case("G02", "QAT weight, uint8 per-tensor affine, Linear",
                      {false, 8, "uint", "per_tensor_affine"}),
          weight_case("G03", "QAT weight, int8 per-channel symmetric, Conv2d",
                      {true, 8, "int", "per_channel_symmetric"}),
          weight_case("G04", "QAT weight, uint4 per-channel affine, Conv2d",
                      {true, 4, "uint", "per_channel_affine"}),
          weight_case("G05a", "QAT weight, uint8 per-tensor symmetric, Linear",
                      {false, 8, "uint", "per_tensor_symmetric"}),
          weight_case("G05b", "QAT weight, int4 per-tensor symmetric, Linear",
                      {false, 4, "int", "per_tensor_symmetric"}),
          weight_case("G05c", "QAT weight, int2 per-tensor affine, Linear",
                      {false, 2, "int", "per_tensor_affine"})};
}

}  // namespace halftone::golden
