#include "train/sizes.h"

#include "nn/layers.h"
#include "quant/chain_step.h"
#include "quant/fake_quantize.h"

namespace halftone {
namespace {

NetworkSizes& operator+=(NetworkSizes& a, const NetworkSizes& b) {
  a.parameters += b.parameters;
  a.fp32_bytes += b.fp32_bytes;
  a.quantized_bytes += b.quantized_bytes;
  return a;
}

// The chain that computes a module on integers; null where none does.
const Chain* integer_chain(const Quantizer* quantizer, const Module& module) {
  if (quantizer == nullptr) return nullptr;
  for (const ChainPtr& chain : quantizer->chains()) {
    const bool member = chain->anchor == &module || chain->norm.get() == &module;
    if (member && chain->grid != nullptr) return chain.get();
  }
  return nullptr;
}

// A scale each, and a zero point where the grid is affine.
int64_t grid_bytes(const FakeQuantize& q, int rank) {
  return static_cast<int64_t>(q.grids(rank).list.size()) * (q.spec().symmetric ? 4 : 8);
}

NetworkSizes weighted(WeightLayer& layer, const Quantizer* quantizer) {
  const Tensor& weight = layer.weight.value();
  const int64_t channels = weight.dim(0), biases = layer.bias.defined() ? channels : 0;
  const int64_t own = weight.numel() + biases;
  const auto* q = dynamic_cast<const FakeQuantize*>(layer.weight_transform().get());
  if (q == nullptr) return {own, 4 * own, 4 * own};
  const int64_t codes = (weight.numel() * q->spec().bits + 7) / 8;
  // A bias, a multiplier, and the byte of a zero point.
  const std::vector<quant_math::Grid> grids = q->grids(weight.rank()).list;
  const int64_t constants = !q->spec().symmetric || has_zero_points(grids) ? 9 : 8;
  if (integer_chain(quantizer, layer) != nullptr)
    return {own, 4 * own, codes + constants * channels};
  return {own, 4 * own, codes + grid_bytes(*q, weight.rank()) + 4 * biases};
}

NetworkSizes normalisation(const BatchNorm& norm, const Quantizer* quantizer) {
  const int64_t own = norm.weight.defined() ? 2 * norm.weight.value().numel() : 0;
  const int64_t bytes = 4 * (own + 2 * norm.running_mean->numel());
  return {own, bytes, integer_chain(quantizer, norm) != nullptr ? 0 : bytes};
}

}  // namespace

NetworkSizes measure_sizes(Module& model, const Quantizer* quantizer) {
  NetworkSizes s;
  for (auto& [name, module] : model.named_modules()) {
    if (auto* layer = dynamic_cast<WeightLayer*>(module)) s += weighted(*layer, quantizer);
    if (auto* norm = dynamic_cast<BatchNorm*>(module)) s += normalisation(*norm, quantizer);
  }
  return s;
}

}  // namespace halftone
