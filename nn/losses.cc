#include "nn/losses.h"

#include "autograd/ops.h"
#include "tensor/nearest.h"

namespace halftone {
namespace {

Loss cross_entropy_with(float smoothing) {
  if (!(smoothing >= 0.0f && smoothing < 1.0f)) {
    throw HALFTONE_ERROR("cross_entropy")
        .expected("label_smoothing in [0, 1)")
        .found(std::to_string(smoothing));
  }
  return [smoothing](const Variable& x, const Tensor& labels) {
    return cross_entropy(x, labels, smoothing);
  };
}

}  // namespace

std::vector<std::string> loss_names() { return {"cross_entropy", "nll", "mse", "squared_hinge"}; }

Loss make_loss(const std::string& name, const LossOptions& options) {
  if (name == "cross_entropy") return cross_entropy_with(options.label_smoothing.value_or(0.0f));
  Loss loss;
  if (name == "nll") loss = nll_loss;
  if (name == "mse") loss = mse_loss;
  if (name == "squared_hinge") loss = squared_hinge_loss;
  if (!loss) throw_unknown_name("loss", name, loss_names());
  if (options.label_smoothing) {
    throw HALFTONE_ERROR("loss").what_happened(name + " has no label_smoothing");
  }
  return loss;
}

}  // namespace halftone
