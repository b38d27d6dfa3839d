// What layers check of their inputs, and how they say it.
#pragma once

#include <string>
#include <vector>

#include "autograd/variable.h"

namespace halftone {

// The only input; throws when there are more or none.
const Variable& only_input(const char* op, const std::vector<Variable>& inputs);

// Shapes as PyTorch writes them: "(64, 3, 32, 32)", images in NCHW.
std::string torch_shape(const Shape& nhwc);

// "0.1", "1e-05": %g.
std::string short_number(double value);

// "(N, 3, H, W)" for rank 4, "(N, 3)" for rank 2 is expected of x; `owner` says whose channels
// these are: "weight (16, 3, 3, 3)".
void check_channels(const char* op, const Shape& x, int rank, int64_t channels,
                    const std::string& owner, const std::string& fix = "");

}  // namespace halftone
