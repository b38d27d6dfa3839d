// Batch norm and the weights before it: factors, and the modes that need them. Inside //quant only.
#pragma once

#include <vector>

#include "quant/chain.h"

namespace halftone {

// gamma / sqrt(running_var + eps) per channel. For factors below 2^-20 (gamma 0) the largest of the
// others stands in, with their sign: it divides out again, and a range of the whole tensor is no
// wider for it.
std::vector<double> fold_factors(const BatchNorm& norm);

// What the chain's weight quantizer gets to see: raw weights, or each row times its factor.
Tensor weight_to_quantize(const Chain& chain);

// The same as it deploys: rows of 0 where gamma / sigma is (nearly) 0 and the stand-in says
// nothing.
Tensor exported_weight(const Chain& chain);

// Whose statistics the chain's batch norm uses in training.
NormStatistics statistics_of(const Chain& chain);

// The layer on dequantized values, up to and without its batch norm (kNni: with it), the weight
// quantizer included.
Variable run_unfused(Chain& chain, const Variable& x);
// The chain's batch norm, where the anchor has not computed it.
Variable run_norm(Chain& chain, Module& norm, const std::vector<Variable>& inputs);

// w gamma / sigma_run in the shape of w, and what the layer gives at a zero input, batch norm
// included.
struct FoldedLayer {
  Tensor weight, bias;
};
FoldedLayer fold_layer(const Chain& chain, const Tensor& w);

// Executors for a layer that has no integer form but folds its batch norm.
void install_unfused(const ChainPtr& chain);

}  // namespace halftone
