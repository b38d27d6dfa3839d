// The one numerical gradient check, and inputs that suit it.
#pragma once

#include <functional>
#include <vector>

#include "autograd/variable.h"

namespace halftone::test {

using Function = std::function<Variable(const std::vector<Variable>&)>;

// Runs f on leaves made of `inputs`, backward with a random upstream r, and compares every gradient
// with central differences of sum(r * f), summed in double. Returns the largest difference,
// relative to the largest numerical gradient of the same input; infinity when an input got no
// gradient. Error sources at step 2^-7: truncation (f''' h^2 / 6, up to 1e-4 here) and float32
// rounding of f (6e-8 |f| / h, about 1e-5): kTolerance leaves a factor of ten.
double gradient_error(const Function& f, const std::vector<Tensor>& inputs);
constexpr double kStep = 1.0 / 128;
constexpr double kTolerance = 1e-3;

// Normal values with standard deviation `deviation`.
Tensor random_tensor(const Context& context, const Shape& shape, uint64_t seed,
                     float deviation = 1.0f);

// Shuffled distinct values 0.05 k + 0.02 around 0: more than a step away from each other and from
// every multiple of 0.05, so from the kinks at 0, -1, 1 and 6.
Tensor spaced_tensor(const Context& context, const Shape& shape, uint64_t seed);

}  // namespace halftone::test
