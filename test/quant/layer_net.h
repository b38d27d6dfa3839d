// conv - bn - act - flatten - fc, quantized: what files say of it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/optimizer.h"
#include "test/quant/chain_oracle.h"

namespace halftone::test {

struct LayerNet {
  explicit LayerNet(const std::string& name, const std::string& config, bool integer = true,
                    Activation act = Activation::kReLU)
      : context(two_threads(5)), net(make<Sequential>(context)) {
    Conv2dArgs args{2, 4, 3};
    args.padding = 1;
    conv = make<Conv2d>(context, args);
    norm = make<BatchNorm>(context, 4, 2);
    fc = make<Linear>(context, 4 * 5 * 5, 3);
    net->append("conv", conv).append("bn", norm);
    net->append("act", make<ActivationLayer>(context, ActivationOptions{act, -1, 1}));
    net->append("flatten", make<Flatten>(context)).append("fc", fc);
    // Factors of both signs.
    norm->weight.mutable_value() = Tensor::from<float>(context, {4}, {1.5f, -0.5f, 0.25f, 2.0f});
    store = std::make_unique<ParameterStore>(*net);
    optimizer = make_optimizer(*store, {});
    QuantizerOptions options;
    options.integer = integer;
    quantizer = make_quantizer(name, *net, config, optimizer.get(), batch(0), options);
    quantizer->compress();
  }
  Tensor batch(int k) const { return spread(context, {4, 5, 5, 2}, -0.8f, 1.4f, 3 + 2 * k); }
  void train(int steps) {
    for (int k = 0; k < steps; ++k) {
      optimizer->zero_grad();
      const Tensor labels = Tensor::from<int64_t>(context, {4}, {0, 1, 2, 1});
      Variable loss = cross_entropy((*net)(Variable(batch(k))), labels);
      loss.backward();
      optimizer->step();
    }
  }
  // What the first `modules` of the network give in evaluation.
  Variable evaluate(size_t modules = 5) {
    const EvaluationMode evaluation(*net);
    const NoGrad no_grad;
    Variable x(batch(9));
    for (size_t i = 0; i < modules; ++i) x = net->children()[i](x);
    return x;
  }
  std::vector<float> logits() { return evaluate().value().to_vector<float>(); }
  FakeQuantize& at(const std::string& module, QuantType type) const {
    for (const QuantPoint& p : quantizer->points()) {
      if (p.module == module && p.type == type) return *p.quantizer;
    }
    throw std::logic_error(module);
  }

  Context context;
  std::shared_ptr<Sequential> net;
  std::shared_ptr<Conv2d> conv;
  std::shared_ptr<BatchNorm> norm;
  std::shared_ptr<Linear> fc;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Quantizer> quantizer;
};

// The message of the Error that a call throws; "" without one.
template <class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace halftone::test
