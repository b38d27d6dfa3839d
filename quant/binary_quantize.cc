#include "quant/binary_quantize.h"

#include <cmath>

#include "kernels/binary.h"
#include "kernels/binary_cuda.h"
#include "kernels/device_call.h"

namespace halftone {
namespace {

const char* const kPadding = "padding_value";

// A channel of zeros keeps a scale that can be divided by.
float at_least_floor(float alpha) { return std::max(alpha, quant_math::kScaleFloor); }

}  // namespace

BinaryQuantize::BinaryQuantize(const Context& context, const FakeQuantizeArgs& args,
                               Variable weight)
    : RuleQuantize(context, args), weight_(std::move(weight)) {
  if (!is_weight()) return;
  if (has_alpha() && !context.on_cpu()) alpha_ = Tensor::zeros(context, {weight_.shape()[0]});
  register_buffer(kPadding, Tensor::from(context.host(), Shape{1},
                                         std::vector<int32_t>{args.spec.padding_value}));
}

std::string BinaryQuantize::summary_of_spec() const {
  std::string text = "sign";
  if (has_alpha()) text += ", XNOR scale";
  if (spec().stochastic) text += ", stochastic";
  if (spec().approx_sign && !is_weight()) text += ", ApproxSign";
  return text;
}

std::string BinaryQuantize::integer_obstacle() const {
  return is_weight() && spec().stochastic ? "its weights are drawn anew in every training step"
                                          : "";
}

bool BinaryQuantize::fits_epilogue() const { return !spec().stochastic && !spec().approx_sign; }

quant_math::Pass BinaryQuantize::pass() const {
  quant_math::Pass pass;
  pass.act_high = std::nextafter(1.0f, 2.0f);  // bounds are open there
  pass.act_low = -pass.act_high;
  return pass;
}

void BinaryQuantize::check_buffer(const std::string& name, const std::string& full_name,
                                  const Tensor& found) const {
  RuleQuantize::check_buffer(name, full_name, found);
  if (name != kPadding) return;
  const int32_t value = found.to(DType::kInt32).to_vector<int32_t>().at(0);
  if (value == spec().padding_value) return;
  throw HALFTONE_ERROR("load_state_dict")
      .at(full_name)
      .expected("padding_value " + std::to_string(spec().padding_value))
      .found(std::to_string(value))
      .fix("use the config_list of the training run");
}

quant_math::Grid BinaryQuantize::empty_grid() const {
  return is_weight() ? quant_math::Grid{1.0f, 0, -1, 1} : quant_math::Grid{1.0f, 1, 0, 2};
}

// alpha is that of the weights of the moment.
kernels::Grids BinaryQuantize::grids(int) const {
  kernels::Grids out;
  out.list = {empty_grid()};
  if (!has_alpha()) return out;
  const std::vector<float> alpha = kernels::mean_magnitude(weight_.value(), true);
  out.axis = 0;
  out.list.resize(alpha.size(), empty_grid());
  for (size_t c = 0; c < alpha.size(); ++c) out.list[c].scale = at_least_floor(alpha[c]);
  return out;
}

// In a step that leaves its values there.
bool BinaryQuantize::trains_on_device() const {
  return !context().on_cpu() && training() && !watched();
}

bool BinaryQuantize::joins_batch() const {
  return batch_ != nullptr && trains_on_device() && will_quantize() && !spec().stochastic &&
         !emits_codes();
}

void BinaryQuantize::write_on_device(const Tensor& w, Tensor& y) const {
  const auto segment = sign_segment(w, alpha_, y);
  kernels::launch<&kernels::cuda::quantize_weights>(w, kernels::cuda::weights_from({segment}, 0));
}

void BinaryQuantize::write_values(const Tensor& x, Tensor& y) const {
  if (alpha_.defined()) return write_on_device(x, y);
  if (has_alpha()) return kernels::binarize_scaled(x, kernels::mean_magnitude(x, true), y);
  kernels::binarize(x, y);
}

namespace {

// alpha: that of the forward.
void put_gradient_on_device(const Tensor& dq, const Tensor& w, const Tensor& alpha, Tensor& dw) {
  kernels::cuda::ScaledSignBackwardArgs args;
  args.rows = alpha.numel(), args.length = args.rows == 0 ? 0 : w.numel() / args.rows;
  args.dy = static_cast<const float*>(dq.raw()), args.w = static_cast<const float*>(w.raw());
  args.alpha = static_cast<const float*>(alpha.raw());
  args.dw = static_cast<float*>(dw.raw());
  kernels::launch<&kernels::cuda::scaled_sign_backward>(w, args);
}

}  // namespace

FakeQuantize::GradientFn BinaryQuantize::gradient(const Shape&) const {
  if (alpha_.defined()) {
    return [alpha = alpha_](const Tensor& dq, const Tensor& w, GradSink& sink, size_t at, size_t) {
      if (sink.needs(at)) put_gradient_on_device(dq, w, alpha, sink.out(at));
    };
  }
  if (has_alpha()) {
    return [](const Tensor& dq, const Tensor& w, GradSink& sink, size_t at, size_t) {
      if (!sink.needs(at)) return;
      const std::vector<float> alpha = kernels::mean_magnitude(w, true);
      kernels::binarize_scaled_backward(dq, w, alpha, sink.out(at));
    };
  }
  if (is_weight()) {
    return [](const Tensor& dq, const Tensor&, GradSink& sink, size_t at, size_t) {
      if (sink.needs(at)) sink.put(at, dq);
    };
  }
  const auto rule = spec().approx_sign ? quant_math::SignGradient::kApproxSign
                                       : quant_math::SignGradient::kStraightThrough;
  return [rule](const Tensor& dq, const Tensor& x, GradSink& sink, size_t at, size_t) {
    if (sink.needs(at)) kernels::binarize_backward(dq, x, rule, sink.out(at));
  };
}

std::shared_ptr<FusedSign> BinaryQuantize::fused_sign() {
  if (fused_sign_ != nullptr || is_weight() || context().on_cpu()) return fused_sign_;
  if (spec().stochastic || spec().approx_sign || emits_codes()) return nullptr;
  fused_sign_ = std::make_shared<FusedSign>();
  fused_sign_->wanted = [weak = weak_from_this()] {
    const auto self = std::dynamic_pointer_cast<BinaryQuantize>(weak.lock());
    return self != nullptr && self->trains_on_device() && self->will_quantize() &&
           !self->checks_values();
  };
  return fused_sign_;
}

Variable BinaryQuantize::quantize(const Variable& x) {
  // Its gradient is 1 where |x| <= 1, as everywhere behind that batch norm.
  if (fused_sign_ != nullptr && fused_sign_->call == call_number() &&
      fused_sign_->made == x.value().raw()) {
    return x;
  }
  if (spec().stochastic && training()) return quantize_stochastic(x);
  if (!joins_batch() || !x.value().same_memory(latent())) return RuleQuantize::quantize(x);
  check_unobserved(x);
  return result(x, batch_->take(*this));
}

Variable BinaryQuantize::quantize_stochastic(const Variable& x) {
  check_unobserved(x);
  Tensor y = Tensor::empty(x.context(), x.shape());
  kernels::binarize_stochastic(x.value(), context().random().stream(), y);
  if (!has_alpha()) return result(x, y);
  if (!alpha_.defined()) {
    kernels::binarize_scaled(y, kernels::mean_magnitude(x.value(), true), y);
    return result(x, y);
  }
  namespace device = kernels::cuda;
  const int64_t rows = alpha_.numel(), length = rows == 0 ? 0 : y.numel() / rows;
  auto* alpha = static_cast<float*>(alpha_.raw());
  const auto* latent = static_cast<const float*>(x.value().raw());
  auto* signs = static_cast<float*>(y.raw());
  kernels::launch<&device::mean_magnitude>(y,
                                           device::MeanMagnitudeArgs{rows, length, latent, alpha});
  kernels::launch<&device::scaled_sign>(y,
                                        device::ScaledSignArgs{rows, length, signs, alpha, signs});
  return result(x, y);
}

void BinaryQuantize::after_step() {
  if (is_weight() && !warm_up()) kernels::clip_latent_weights(weight_.mutable_value());
}

}  // namespace halftone
