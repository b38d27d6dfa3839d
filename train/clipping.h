// How many of the values that reach a network's quantizers they clip.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "nn/module.h"

namespace halftone {

// By the path of each initialised quantizer: the share of the values that it sees in evaluation
// mode, over these batches, that lie beyond its codes. Values are those of the float path, since
// between the codes of an integer chain nothing is left to see. Takes the model apart: executors
// and quantizers are not put back.
std::map<std::string, double> clipped_shares(Module& model, const std::vector<Tensor>& batches);

}  // namespace halftone
