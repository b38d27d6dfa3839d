// Losses by name, for recipes. Means over the batch; the functions themselves are autograd/ops.h.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "autograd/variable.h"

namespace halftone {

struct LossOptions {
  std::optional<float> label_smoothing;  // cross_entropy only, in [0, 1)
};

// loss(output, target): target int64 labels (N), for "mse" float32 of the output's shape.
using Loss = std::function<Variable(const Variable& output, const Tensor& target)>;

// "cross_entropy", "nll", "mse", "squared_hinge". Throws on an unknown name, and on an option that
// the loss does not have.
Loss make_loss(const std::string& name, const LossOptions& options = {});
std::vector<std::string> loss_names();

}  // namespace halftone
