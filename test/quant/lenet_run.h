// LeNet-5 under a quantizer: on made-up images, and on generated digits.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "nn/optimizer.h"
#include "nn/zoo/zoo.h"
#include "quant/quantizer.h"
#include "test/quant/chain_oracle.h"

namespace halftone::test {

struct LenetRun {
  // An empty name leaves the network in float. graph: with a dummy input.
  LenetRun(const std::string& name, const ConfigList& config, const QuantizerOptions& o = {},
           bool graph = true, const OptimizerOptions& adam = {},
           const std::string& variant = "batch_norm")
      : context(two_threads()), model(lenet5(context, variant)) {
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
    return train_on(x, labels);
  }
  float train_on(const Tensor& x, const Tensor& labels) {
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

 private:
  static Model lenet5(const Context& context, const std::string& variant) {
    ModelOptions options;
    options.variant = variant;
    return make_model("lenet5", context, options);
  }
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

// On generated digits: does a quantizer learn?
struct DigitsRun : LenetRun {
  static constexpr int64_t kBatch = 32, kBatches = 16;

  DigitsRun(const std::string& name, const ConfigList& config, const QuantizerOptions& options = {},
            const std::string& variant = "batch_norm")
      : LenetRun(name, config, options, true, {}, variant) {
    DatasetOptions some;
    some.limit = kBatch * kBatches;
    digits_ = load_dataset(context, "generated-digits", Split::kTrain, some);
  }
  // Batch k, as values from 0 to 1.
  Tensor images(int64_t k) const {
    Tensor x = Tensor::empty(context, model.batch_shape(kBatch));
    const uint8_t* bytes = digits_.images.data<uint8_t>() + k % kBatches * x.numel();
    for (int64_t i = 0; i < x.numel(); ++i)
      x.data<float>()[i] = static_cast<float>(bytes[i]) / 255.0f;
    return x;
  }
  Tensor labels(int64_t k) const {
    const auto first = digits_.labels.begin() + k % kBatches * kBatch;
    return Tensor::from(context, Shape{kBatch}, std::vector<int64_t>(first, first + kBatch));
  }
  float step(int64_t k) { return train_on(images(k), labels(k)); }
  // Mean loss of an epoch of steps.
  float epoch() {
    float sum = 0.0f;
    for (int64_t k = 0; k < kBatches; ++k) sum += step(k);
    return sum / kBatches;
  }

 private:
  Dataset digits_;
};

}  // namespace halftone::test
