// LeNet-5 under a quantizer, trained on made-up images.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/optimizer.h"
#include "nn/zoo/zoo.h"
#include "quant/quantizer.h"
#include "test/quant/chain_oracle.h"

namespace halftone::test {

struct LenetRun {
  // An empty name leaves the network in float. graph: with a dummy input.
  LenetRun(const std::string& name, const ConfigList& config, const QuantizerOptions& o = {},
           bool graph = true, const OptimizerOptions& adam = {})
      : context(two_threads()), model(make_model("lenet5", context)) {
    store = std::make_unique<ParameterStore>(*model.module);
    optimizer = make_optimizer(*store, adam);
    if (name.empty()) return;
    quantizer = make_quantizer(name, *model.module, config, optimizer.get(),
                               graph ? Tensor::zeros(context, model.batch_shape(2)) : Tensor(), o);
    quantizer->compress();
  }
  Variable logits(const Tensor& x) { return (*model.module)(Variable(x)); }
  float step(int k) {
    const Tensor x = spread(context, model.batch_shape(8), -0.4f, 2.8f, 3 + k);
    const Tensor labels =
        Tensor::from(context, Shape{8}, std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, (k % 3) + 7});
    optimizer->zero_grad();
    Variable loss = cross_entropy(logits(x), labels);
    loss.backward();
    optimizer->step();
    return loss.value().item<float>();
  }
  std::vector<float> evaluate() {
    model->eval();
    NoGrad no_grad;
    const auto y =
        logits(spread(context, model.batch_shape(5), -0.4f, 2.8f, 91)).value().to_vector<float>();
    model->train();
    return y;
  }

  Context context;
  Model model;
  std::unique_ptr<Quantizer> quantizer;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Optimizer> optimizer;
};

// QAT, or float for an empty config.
struct QatRun : LenetRun {
  explicit QatRun(const std::string& config, int64_t start_step = 0, bool integer = true)
      : LenetRun(config.empty() ? "" : "QAT_Quantizer", config, options(start_step, integer)) {}
  static QuantizerOptions options(int64_t start_step, bool integer) {
    QuantizerOptions o;
    o.start_step = start_step;
    o.integer = integer;
    return o;
  }
};

}  // namespace halftone::test
