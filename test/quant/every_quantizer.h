// A small network under any registered quantizer.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nn/optimizer.h"
#include "nn/zoo/resnet.h"
#include "quant/quantizer.h"
#include "test/quant/chain_oracle.h"

namespace halftone::test {

// What a quantizer is put into: a chain with the algorithm's own defaults (QAT: affine weights),
// the same with symmetric weights, and that with a residual block and quantized sums.
enum class EveryNet { kDefaults, kSymmetric, kResidual };

inline const char* name_of(EveryNet kind) {
  return kind == EveryNet::kDefaults    ? "defaults"
         : kind == EveryNet::kSymmetric ? "symmetric weights"
                                        : "residual block";
}

// Every type that the algorithm takes, on every Conv2d and Linear, in 4 bits or what is next to it;
// BNN's in one.
// Only the logits stay as they are: of one bit, hardly a gradient would pass.
inline ConfigList config_for(const Quantizer& quantizer, EveryNet kind = EveryNet::kDefaults,
                             const std::string& output_layer = "5") {
  const ConfigRules rules = quantizer.rules();
  ConfigValues entry;
  entry.quant_types.emplace();
  for (const QuantType type : rules.types) entry.quant_types->push_back(name_of(type));
  const bool binary = quantizer.name() == "BNNQuantizer";
  entry.quant_bits = binary ? 1 : std::clamp(4, rules.min_bits, rules.max_bits);
  entry.op_types = {"Conv2d", "Linear"};
  const auto knows = [&](const std::string& key) {
    return std::count(rules.keys.begin(), rules.keys.end(), key) > 0;
  };
  if (kind != EveryNet::kDefaults && knows("quant_scheme")) {
    entry.quant_dtype = ByType<std::string>{{"weight", "int"}};
    entry.quant_scheme = ByType<std::string>{{"weight", "per_channel_symmetric"}};
  }
  const auto without_output = [](ConfigValues& e) {
    e.quant_types->erase(std::remove(e.quant_types->begin(), e.quant_types->end(), "output"),
                         e.quant_types->end());
  };
  // A sum of signs behind a ReLU is 0 or 2, where neither passes a gradient.
  if (kind == EveryNet::kResidual && binary) without_output(entry);
  const auto& types = *entry.quant_types;
  const bool outputs = std::count(types.begin(), types.end(), "output") > 0;
  ConfigValues last = entry;
  last.op_names = {output_layer};
  without_output(last);
  std::vector<ConfigValues> list = {entry, last};
  if (kind != EveryNet::kResidual || !outputs) return list;
  ConfigValues& sums = list.emplace_back();
  sums.quant_types = {"output"};
  sums.quant_bits = entry.quant_bits;
  sums.op_types = {"Add"};
  return list;
}

// conv - batch norm - ReLU - pool or residual block - linear, quantized, with its optimizer.
struct EveryRun {
  // config: "" quantizes all that it can.
  explicit EveryRun(const std::string& name, const std::string& config = "",
                    EveryNet kind = EveryNet::kDefaults)
      : context(two_threads(5)), model(make<Sequential>(context)) {
    const bool residual = kind == EveryNet::kResidual;
    Conv2dArgs conv;
    conv.in_channels = 2;
    conv.out_channels = 5;
    conv.padding = 1;
    model->append(make<Conv2d>(context, conv));
    model->append(make<BatchNorm>(context, 5, 2));
    model->append(make_relu(context));
    if (residual) {
      model->append(make<BasicBlock>(context, 5, 5, 1));
    } else {
      model->append(make<MaxPool2d>(context, Pool2dOptions{2, 2, 2, 2}));
    }
    model->append(make<Flatten>(context));
    model->append(make<Linear>(context, residual ? 5 * 8 * 8 : 5 * 4 * 4, 3));
    store = std::make_unique<ParameterStore>(*model);
    optimizer = make_optimizer(*store, {});
    model->eval();
    const auto any = make_quantizer(name, *model, "[]");
    const ConfigList list = config.empty() ? config_for(*any, kind) : ConfigList(config);
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

template <class Body>
void for_every_net(Body body) {
  for (const EveryNet kind : {EveryNet::kDefaults, EveryNet::kSymmetric, EveryNet::kResidual}) {
    for (const std::string& name : quantizer_names()) {
      DYNAMIC_SECTION(name << ", " << name_of(kind)) { body(name, kind); }
    }
  }
}

}  // namespace halftone::test
