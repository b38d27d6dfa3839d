// BatchNorm1d and BatchNorm2d.
#include "nn/input_check.h"
#include "nn/layers.h"

namespace halftone {

BatchNorm::BatchNorm(const Context& context, int features, int spatial_rank,
                     const BatchNormArgs& args)
    : Module(context), rank_(spatial_rank == 2 ? 2 : 1), features_(features), args_(args) {
  if (features <= 0 || (spatial_rank != 1 && spatial_rank != 2)) {
    throw HALFTONE_ERROR("batch_norm")
        .expected("features > 0, and 1 (BatchNorm1d) or 2 (BatchNorm2d)")
        .found(std::to_string(features) + " and " + std::to_string(spatial_rank));
  }
  if (args.affine) {
    register_parameter("weight", weight, Tensor::full(context, {features}, 1.0f));
    register_parameter("bias", bias, Tensor::zeros(context, {features}));
  }
  running_mean = &register_buffer("running_mean", Tensor::zeros(context, {features}));
  running_var = &register_buffer("running_var", Tensor::full(context, {features}, 1.0f));
  num_batches_tracked = &register_buffer("num_batches_tracked",
                                         Tensor::zeros(context.host(), Shape{}, DType::kInt64));
}

std::string BatchNorm::describe() const {
  return std::to_string(features_) + ", eps=" + short_number(args_.eps) +
         ", momentum=" + short_number(args_.momentum) +
         ", affine=" + (args_.affine ? "True" : "False") + ", track_running_stats=True";
}

std::string BatchNorm::summary() const { return type_name() + " " + std::to_string(features_); }

Variable BatchNorm::forward(const std::vector<Variable>& inputs) {
  return forward_sum(only_input("batch_norm", inputs), Variable(), fused_activation);
}

bool BatchNorm::ends_in_sign(const Variable& addend, const ActivationOptions& act) const {
  const bool bounded = act.kind == Activation::kHardtanh && act.low >= -1.0f && act.high <= 1.0f;
  return fused_sign != nullptr && !addend.defined() && bounded && fused_sign->wanted();
}

Variable BatchNorm::forward_sum(const Variable& x, const Variable& addend,
                                const ActivationOptions& act) {
  const int rank = rank_ == 2 ? 4 : 2;
  if (x.shape().rank() != rank || x.shape()[rank - 1] != features_) {
    check_channels("batch_norm", x.shape(), rank, features_,
                   "weight (" + std::to_string(features_) + ",)");
  }
  BatchNormOptions options;
  options.eps = args_.eps;
  options.momentum = args_.momentum;
  options.training = training() && statistics != NormStatistics::kFrozen;
  options.normalise_with_running = statistics == NormStatistics::kRunning;
  options.act = act;
  options.sign = ends_in_sign(addend, act);
  Variable y = batch_norm(x, weight, bias, *running_mean, *running_var, options, addend);
  if (options.training) ++*num_batches_tracked->data<int64_t>();
  if (options.sign) fused_sign->made = y.value().raw(), fused_sign->call = call_number();
  return y;
}

}  // namespace halftone
