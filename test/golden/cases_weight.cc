// G02 to G05: a quantized weight, one forward and backward of QAT_Quantizer.
#include "autograd/ops.h"
#include "nn/layers.h"
#include "test/golden/cases.h"
#include "test/golden/reference_net.h"
#include "test/golden/run_layer.h"

namespace halftone::golden {
namespace {

struct WeightCase {
  bool conv;
  int bits;
  const char *dtype, *scheme;
};

std::vector<float> conv_weight(const Inputs& in) {
  std::vector<float> w = in.g(54, -0.7, 1.3, 2);
  const float magnitude[] = {0.1f, 1.0f, 3.0f};
  for (size_t i = 0; i < w.size(); ++i) w[i] *= magnitude[i / 18];
  return w;
}

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
  conv->load_state_dict({{"weight", Tensor::from(context, Shape{3, 2, 3, 3}, conv_weight(in))}});
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

reference::Layer reference_layer(const WeightCase& c, const Inputs& in) {
  reference::Layer layer;
  if (c.conv) {
    layer = {2, 3, 3, 5, conv_weight(in), {}};
  } else {
    layer = {4, 3, 1, 1, in.g(12, -1.1, 0.9, 1), in.g(3, -0.2, 0.2, 3)};
  }
  reference::RangeSpec spec;
  const std::string scheme = c.scheme;
  spec.bits = c.bits;
  spec.is_signed = c.dtype == std::string("int");
  spec.symmetric = scheme.find("symmetric") != std::string::npos;
  if (scheme.find("per_channel") == 0) spec.channels = 3, spec.inner = 18;
  layer.of_weight = std::make_unique<reference::RangeQuantizer>(spec);
  return layer;
}

// No weight of these cases is a tensor or channel of zeros, whatever the multiplier: only one of
// two successive values can be 0.
Json right(const WeightCase& c, const Inputs& in) {
  reference::Layer layer = reference_layer(c, in);
  const auto y = layer.forward(in.g(c.conv ? 50 : 8, -1, 2, 5), true, {});
  layer.backward(in.g(static_cast<int64_t>(y.size()), -1, 1, 7), {});
  std::vector<float> scale, zero_point;
  for (const auto& g : dynamic_cast<reference::RangeQuantizer&>(*layer.of_weight).grids) {
    scale.push_back(g.scale);
    zero_point.push_back(g.zero_point);
  }
  return {{"scale", numbers(scale)},      {"zp", numbers(zero_point)},
          {"weight", numbers(layer.w_q)}, {"y", numbers(y)},
          {"dW", numbers(layer.dw)},      {"db", c.conv ? Json() : numbers(layer.db)}};
}

Case weight_case(const std::string& id, const std::string& what, const WeightCase& c) {
  return {id,
          what,
          {{"y/*", Nearness::kLargest, 1e-6},
           {"dW/*", Nearness::kLargest, 1e-6},
           {"db/*", Nearness::kLargest, 1e-6},
           {"*"}},
          [c](const Inputs& in) { return run(c, in); },
          [c](const Inputs& in) { return right(c, in); }};
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
