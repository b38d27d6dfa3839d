#include "train/sizes.h"

#include "nn/layers.h"
#include "quant/fake_quantize.h"

namespace halftone {
namespace {

NetworkSizes& operator+=(NetworkSizes& a, const NetworkSizes& b) {
  a.parameters += b.parameters;
  a.fp32_bytes += b.fp32_bytes;
  a.quantized_bytes += b.quantized_bytes;
  return a;
}

// A layer with a weight: in its bits, plus an int32 bias and a float32 multiplier per output
// channel.
NetworkSizes weighted(const Variable& weight, const Variable& bias, Slot& transform) {
  const int64_t weights = weight.value().numel(), channels = weight.shape()[0];
  const int64_t own = weights + (bias.defined() ? channels : 0);
  const auto* quantizer = dynamic_cast<const FakeQuantize*>(transform.get());
  if (quantizer == nullptr) return {own, 4 * own, 4 * own};
  return {own, 4 * own, (weights * quantizer->spec().bits + 7) / 8 + 8 * channels};
}

// Folded into the multipliers and biases before it where a chain computes it.
NetworkSizes normalisation(const BatchNorm& norm) {
  const int64_t own = norm.weight.defined() ? 2 * norm.weight.value().numel() : 0;
  const int64_t bytes = 4 * (own + 2 * norm.running_mean->numel());
  return {own, bytes, norm.has_executor() ? 0 : bytes};
}

}  // namespace

NetworkSizes measure_sizes(Module& model) {
  NetworkSizes s;
  for (auto& [name, module] : model.named_modules()) {
    if (auto* layer = dynamic_cast<WeightLayer*>(module))
      s += weighted(layer->weight, layer->bias, layer->weight_transform());
    if (auto* norm = dynamic_cast<BatchNorm*>(module)) s += normalisation(*norm);
  }
  return s;
}

}  // namespace halftone
