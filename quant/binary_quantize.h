// The quantizer of one binary tensor.
#pragma once

#include "nn/layers.h"
#include "quant/rule_quantize.h"
#include "quant/sign_batch.h"

namespace halftone {

// y = sign(x), sign(0) = +1 (BNN, equation 1), in training +1 with probability clamp((x + 1) / 2,
// 0, 1) where spec.stochastic is set (equations 2 and 3).
// Activations: dx = dy where |x| <= 1 (equation 4), or (2 - 2 |x|) dy inside with spec.approx_sign
//   (Bi-Real Net, equation 7). Codes {0, 2} with z = 1, s = 1: z is the code of a zero padding.
// Weights: dw = dy; after every optimizer step they are clipped to [-1, 1] (section 2.3), so that
//   they do not drift where no gradient reaches. With spec.per_channel XNOR-Net's scale,
//   alpha sign(w), alpha = mean |w| of an output channel; dw = (1 / n + alpha [|w| <= 1]) dy
//   (XNOR-Net, section 3.1). Codes -1 and 1.
class BinaryQuantize : public RuleQuantize {
 public:
  // weight: the layer's, for the type kWeight.
  BinaryQuantize(const Context& context, const FakeQuantizeArgs& args, Variable weight = {});
  std::string summary_of_spec() const override;
  std::string integer_obstacle() const override;
  // Not a random sign, and not ApproxSign's gradient, which is no mask.
  bool fits_epilogue() const override;
  quant_math::Pass pass() const override;
  bool is_sign() const override { return true; }
  void check_buffer(const std::string& name, const std::string& full_name,
                    const Tensor& found) const override;
  quant_math::Grid empty_grid() const override;
  kernels::Grids grids(int rank) const override;
  GradientFn gradient(const Shape& x) const override;
  void after_step() override;

  // Of an activation: a batch norm before it may take the sign, in training steps that stay on a
  // device and do not look at the values.
  std::shared_ptr<FusedSign> fused_sign();

  // Weights of a device: those of a network are quantized together.
  void join(std::shared_ptr<SignBatch> batch) { batch_ = std::move(batch); }
  bool joins_batch() const;
  const Tensor& latent() const { return weight_.value(); }
  // Of the weights that were quantized last, on their device; undefined without a scale, and on the
  // CPU.
  const Tensor& alpha() const { return alpha_; }

 protected:
  Variable quantize(const Variable& x) override;
  void write_values(const Tensor& x, Tensor& y) const override;

 private:
  bool has_alpha() const { return is_weight() && spec().per_channel; }
  bool trains_on_device() const;
  Variable quantize_stochastic(const Variable& x);
  void write_on_device(const Tensor& w, Tensor& y) const;

  Variable weight_;
  Tensor alpha_;
  std::shared_ptr<SignBatch> batch_;
  std::shared_ptr<FusedSign> fused_sign_;
};

}  // namespace halftone
