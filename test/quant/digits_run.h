// LeNet-5 on generated digits: does a quantizer learn?
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "nn/optimizer.h"
#include "nn/zoo/zoo.h"
#include "quant/quantizer.h"

namespace halftone::test {

class DigitsRun {
 public:
  static constexpr int64_t kBatch = 32, kBatches = 16;

  DigitsRun(const std::string& quantizer_name, const std::string& config,
            const QuantizerOptions& options = {}, const std::string& variant = "batch_norm")
      : context(settings()), model(lenet5(context, variant)) {
    DatasetOptions some;
    some.limit = kBatch * kBatches;
    digits_ = load_dataset(context, "generated-digits", Split::kTrain, some);
    store = std::make_unique<ParameterStore>(*model.module);
    optimizer = make_optimizer(*store, {});
    quantizer = make_quantizer(quantizer_name, *model.module, config, optimizer.get(),
                               Tensor::zeros(context, model.batch_shape(2)), options);
    quantizer->compress();
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
  float step(int64_t k) {
    optimizer->zero_grad();
    Variable loss = cross_entropy((*model.module)(Variable(images(k))), labels(k));
    loss.backward();
    optimizer->step();
    return loss.value().item<float>();
  }
  // Mean loss of an epoch of steps.
  float epoch() {
    float sum = 0.0f;
    for (int64_t k = 0; k < kBatches; ++k) sum += step(k);
    return sum / kBatches;
  }

  Context context;
  Model model;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Quantizer> quantizer;

 private:
  static Model lenet5(const Context& context, const std::string& variant) {
    ModelOptions options;
    options.variant = variant;
    return make_model("lenet5", context, options);
  }
  static ContextOptions settings() {
    ContextOptions o;
    o.threads = 2;
    o.seed = 3;
    return o;
  }
  Dataset digits_;
};

}  // namespace halftone::test
