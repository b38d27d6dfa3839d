// A small network under any registered quantizer.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nn/optimizer.h"
#include "quant/quantizer.h"
#include "test/quant/chain_oracle.h"

namespace halftone::test {

// Every type that the algorithm takes, on every Conv2d and Linear, in 4 bits or what is next to it.
// Only the logits stay as they are: of one bit, hardly a gradient would pass.
inline ConfigList config_for(const Quantizer& quantizer, const std::string& output_layer = "5") {
  const ConfigRules rules = quantizer.rules();
  ConfigValues entry;
  entry.quant_types.emplace();
  for (const QuantType type : rules.types) entry.quant_types->push_back(name_of(type));
  entry.quant_bits = std::clamp(4, rules.min_bits, rules.max_bits);
  entry.op_types = {"Conv2d", "Linear"};
  ConfigValues last = entry;
  last.op_names = {output_layer};
  auto& types = *last.quant_types;
  types.erase(std::remove(types.begin(), types.end(), "output"), types.end());
  return std::vector<ConfigValues>{entry, last};
}

// conv - batch norm - ReLU - pool - linear, quantized, with its optimizer.
struct EveryRun {
  // config: "" quantizes all that it can.
  explicit EveryRun(const std::string& name, const std::string& config = "")
      : context(two_threads(5)), model(make<Sequential>(context)) {
    Conv2dArgs conv;
    conv.in_channels = 2;
    conv.out_channels = 5;
    conv.padding = 1;
    model->append(make<Conv2d>(context, conv));
    model->append(make<BatchNorm>(context, 5, 2));
    model->append(make_relu(context));
    model->append(make<MaxPool2d>(context, Pool2dOptions{2, 2, 2, 2}));
    model->append(make<Flatten>(context));
    model->append(make<Linear>(context, 5 * 4 * 4, 3));
    store = std::make_unique<ParameterStore>(*model);
    optimizer = make_optimizer(*store, {});
    model->eval();
    const auto any = make_quantizer(name, *model, "[]");
    const ConfigList list = config.empty() ? config_for(*any) : ConfigList(config);
    quantizer = make_quantizer(name, *model, list, optimizer.get(), batch(0));
    for (int k = 0; k < 2 && quantizer->needs_calibration(); ++k) (*model)(Variable(batch(k)));
    quantizer->compress();
    model->train();
  }
  Tensor batch(int k) const { return spread(context, {6, 8, 8, 2}, -0.8f, 1.4f, 3 + 2 * k); }
  float step(int k) {
    optimizer->zero_grad();
    const Tensor labels =
        Tensor::from(context, Shape{6}, std::vector<int64_t>{0, 1, 2, k % 3, 1, 0});
    Variable loss = cross_entropy((*model)(Variable(batch(k))), labels);
    loss.backward();
    optimizer->step();
    return loss.value().item<float>();
  }
  std::vector<float> evaluate() {
    NoGrad no_grad;
    model->eval();
    const auto y = (*model)(Variable(batch(9))).value().to_vector<float>();
    model->train();
    return y;
  }
  std::map<std::string, std::vector<float>> values() {
    std::map<std::string, std::vector<float>> out;
    for (auto& [name, tensor] : model->state_dict())
      out[name] = tensor.to(DType::kFloat32).to_vector<float>();
    return out;
  }

  Context context;
  std::shared_ptr<Sequential> model;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Quantizer> quantizer;
};

template <class Body>
void for_every_quantizer(Body body) {
  for (const std::string& name : quantizer_names()) {
    DYNAMIC_SECTION(name) { body(name); }
  }
}

}  // namespace halftone::test
