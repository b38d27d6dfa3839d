// How many of the values that reach a network's quantizers they clip.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "nn/module.h"

namespace halftone {

// By the path of each initialised quantizer: the share of the values that it gets in evaluation
// mode, over these batches, that lie beyond its codes. The network is the one that evaluation runs:
// folded weights where they are folded, sums of integer chains in reals before they are rounded. A
// quantizer that gets nothing but codes of its own has no share. Changes nothing in the model.
std::map<std::string, double> clipped_shares(Module& model, const std::vector<Tensor>& batches);

}  // namespace halftone
