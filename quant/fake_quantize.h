// The module that sits in a quantizer slot: observer, scale, zero point and flags in one record.
#pragma once

#include <vector>

#include "nn/module.h"
#include "quant/spec.h"

namespace halftone {

struct FakeQuantizeArgs {
  QuantType type = QuantType::kOutput;
  QuantSpec spec;
  int64_t channels = 1;  // of per-channel scales; 0: known from the first batch on
  bool emits_codes =
      false;  // activations: the result holds integer codes (activation_obstacle is "")
};

// y = s (clamp(rint(x / s) + z, qmin, qmax) - z); dx = dy where the rounded code lies in the range.
// In training the range is observed first, during the float warm-up too; then, and before any range
// is known, the input passes through unchanged, and so does its gradient. State: scale, zero_point,
// min_val, max_val, fake_quant_enabled, observer_enabled, initialised, steps, and spec: bits,
// signed, per channel, symmetric, axis, NNI's rounding as int32; a file with another spec is
// refused.
class FakeQuantize : public Module {
 public:
  FakeQuantize(const Context& context, const FakeQuantizeArgs& args);
  std::string type_name() const override { return "FakeQuantize"; }
  std::string describe() const override;
  void check_buffer(const std::string& name, const std::string& full_name,
                    const Tensor& found) const override;
  Variable forward(const std::vector<Variable>& inputs) override;

  const QuantSpec& spec() const { return args_.spec; }
  QuantType type() const { return args_.type; }
  bool emits_codes() const { return args_.emits_codes; }

  bool warm_up() const { return args_.spec.start_step > steps(); }
  // Whether the next forward will quantize.
  bool will_quantize() const;
  bool observes() const;  // in training, with the observer on
  bool initialised() const { return flag(*initialised_); }

  // Takes the ranges of a batch in, and sets scale and zero point from what is tracked then. Throws
  // on NaN and infinities, changing nothing.
  void observe(const std::vector<kernels::Range>& seen);
  void observe_values(const Tensor& x);
  // Ranges from elsewhere (a calibration file): tracked from now on.
  void set_ranges(const std::vector<kernels::Range>& ranges);
  std::vector<kernels::Range> ranges() const;

  // For a tensor of this rank as it lies in memory: one grid, or one for each position on the axis
  // (spec().axis counts in PyTorch's layout, the result's axis in NHWC and OHWI). Evaluation uses
  // the scale of the last training step: weights are observed in training only.
  kernels::Grids grids(int rank) const;
  // Per-tensor activations as stored: uint8 codes; signed codes are stored 128 higher. Of
  // per-channel grids it is the first channel's only: use grids() for them.
  QuantParams params() const;

  int64_t steps() const { return *steps_->data<int64_t>(); }
  void set_steps(int64_t steps) { *steps_->data<int64_t>() = steps; }
  void enable(bool fake_quant, bool observer);

 private:
  static bool flag(const Tensor& t) { return *t.data<uint8_t>() != 0; }
  void check_finite(const std::vector<kernels::Range>& seen) const;
  Variable to_codes(const Variable& x) const;
  Variable to_float(const Variable& x) const;

  FakeQuantizeArgs args_;
  Tensor *scale_, *zero_point_, *min_, *max_;
  Tensor *fake_quant_enabled_, *observer_enabled_, *initialised_, *steps_;
};

}  // namespace halftone
