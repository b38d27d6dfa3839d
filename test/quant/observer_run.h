// LeNet-5 to calibrate, and one observer alone.
#pragma once

#include "nn/zoo/zoo.h"
#include "quant/observer_quantize.h"
#include "quant/observer_quantizer.h"
#include "test/quant/chain_oracle.h"

namespace halftone::test {

inline std::string config_with(const std::string& keys) {
  return R"([{"quant_types": ["weight", "input"], "quant_bits": 8, "op_types": ["Conv2d", "Linear"])" +
         (keys.empty() ? "" : ", " + keys) + "}]";
}

// LeNet-5 in evaluation mode; without config in float.
struct Lenet {
  explicit Lenet(const std::string& keys, bool quantized = true)
      : model(make_model("lenet5", context)) {
    model->eval();
    if (!quantized) return;
    quantizer = std::make_unique<ObserverQuantizer>(*model.module, config_with(keys), nullptr,
                                                    Tensor::zeros(context, model.batch_shape(1)));
  }
  void calibrate(int batches = 3) {
    for (int k = 0; k < batches; ++k) logits(k);
  }
  std::vector<float> logits(int k = 90) {
    const NoGrad no_grad;
    const Variable x(spread(context, model.batch_shape(4), -0.4f, 2.0f + 0.1f * k, 3 + 2 * k));
    return (*model.module)(x).value().to_vector<float>();
  }
  ObserverQuantize& point(const std::string& module, QuantType type = QuantType::kInput) {
    for (const QuantPoint& p : quantizer->points()) {
      if (p.module == module && p.type == type)
        return dynamic_cast<ObserverQuantize&>(*p.quantizer);
    }
    throw std::logic_error(module);
  }

  Context context{{{}, 2, 3}};
  Model model;
  std::unique_ptr<ObserverQuantizer> quantizer;
};

// One activation's quantizer, alone.
struct Lone {
  explicit Lone(ObserverKind kind, QuantSpec spec = {}) {
    spec.observer = kind;
    q = make<ObserverQuantize>(context, FakeQuantizeArgs{QuantType::kInput, spec, 0, false});
    q->eval();
  }
  Variable run(const std::vector<float>& values) {
    return (*q)(
        Variable(Tensor::from(context, Shape{static_cast<int64_t>(values.size())}, values)));
  }
  Context context;
  std::shared_ptr<ObserverQuantize> q;
};

inline const ObserverKind kKinds[] = {ObserverKind::kMinMax, ObserverKind::kEma,
                                      ObserverKind::kHistogram, ObserverKind::kPercentile,
                                      ObserverKind::kKl};

}  // namespace halftone::test
