// A quantizer whose grid is learned by gradient descent.
#pragma once

#include "kernels/moments.h"
#include "quant/fake_quantize.h"

namespace halftone {

class LsqGroup;

// LSQ (z = 0): y = s clamp(rint(x / s), qmin, qmax); dx = dy inside the range, else 0;
//   ds = g sum dy (rint(v) - v inside, qmin or qmax clipped),  v = x / s,
//   g = 1 / sqrt(N qmax), N: the weights that share s, or the features of one sample.
// LSQ+ (spec without `symmetric`): z = rint(-offset / s), so that zero has a code; offset is the
// real value of code 0, and g scales its gradient too (kernels/integer/lsq_math.h).
// Codes: signed -2^(b-1) .. 2^(b-1) - 1, of 8-bit weights -127 .. 127, as they must be negatable;
// unsigned 0 .. 2^b - 1. NNI (spec.nni): -128 too, N counts the batch, and the edges of the range
// are inside; the paper and the default here clip them.
// In a group of edges (scale_group.h) `scale` is one parameter of all members, z = 0, without
// offset. State beside FakeQuantize's: the parameters scale and, of LSQ+, offset.
class LsqQuantize : public FakeQuantize {
 public:
  // from_deviation: first scales of weights as in LSQ+.
  LsqQuantize(const Context& context, const FakeQuantizeArgs& args, bool from_deviation = false);

  // From here on the sign of the values is known, whatever the first batch holds. Only for
  // spec.auto_dtype.
  void decide_sign(bool is_signed);

  // Only the first values, of which not all are zero, and those of the last step of a float
  // warm-up: they give the first scale. Never an evaluation.
  bool observes() const override;
  void observe_values(const Tensor& x) override;
  quant_math::Pass pass() const override;
  quant_math::Grid empty_grid() const override;
  kernels::Grids grids(int rank) const override;
  std::vector<kernels::Range> ranges() const override;
  // Widened to hold zero. A range of zeros alone says nothing, as in observe_values(). Throws where
  // the codes are unsigned and the range has nothing above 0.
  void set_ranges(const std::vector<kernels::Range>& ranges) override;
  void set_grids(const std::vector<quant_math::Grid>& list) override;
  std::vector<Variable> learned() const override;
  GradientFn gradient(const Shape& x) const override;
  std::optional<LearnedGrid> learned_grid(const Shape& x) const override;
  quant_math::PassRule pass_rule() const override { return quant_math::PassRule::kOpen; }
  std::optional<GridTensors> grid_tensors() const override;
  bool can_share_scale() const override { return true; }
  bool shares_scale() const override { return group_ != nullptr; }
  // Before anything is known of its values. follows: another member observes them.
  void join(std::shared_ptr<LsqGroup> group, const Variable& common, bool follows);
  // Keeps scales at 2^-23 or above, and offsets where zero has a code; throws on NaN and infinity,
  // of a device every hundredth step.
  void after_step() override;

  Variable scale, offset;

 private:
  friend class LsqGroup;
  bool learns_offset() const { return offset.defined(); }
  bool last_of_warm_up() const { return warm_up() && steps() + 1 == spec().start_step; }
  double factor(const Shape& x) const;
  GradientFn gradient_on_device(const Shape& x) const;
  void check_learned() const;
  void clamp_on_device();
  std::vector<float> first_scales(const std::vector<kernels::Moments>& seen) const;
  void check_count(size_t found, const std::string& what) const;
  void check_reached(const kernels::Range& range) const;
  float scale_for(const kernels::Range& range) const;
  float offset_for(const kernels::Range& range, float s) const;
  void want(float first_scale);

  std::shared_ptr<LsqGroup> group_;
  // Of a member: the first scale that its own values ask for; 0: they are all zero.
  std::optional<float> wanted_;
  bool from_deviation_, sign_known_, follows_ = false;
};

}  // namespace halftone
