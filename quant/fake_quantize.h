// The module in a quantizer slot.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "kernels/integer/chain_math.h"
#include "nn/module.h"
#include "quant/grid_tensors.h"
#include "quant/spec.h"

namespace halftone {

struct FakeQuantizeArgs {
  QuantType type = QuantType::kOutput;
  QuantSpec spec;
  int64_t channels = 1;  // of per-channel scales; 0: known from the first batch on
  // Activations: the result holds integer codes (activation_obstacle is "").
  bool emits_codes = false;
};

// How the gradients of learned() follow from sums over a tensor (kernels/lsq.h), at the edges as in
// the paper.
struct LearnedGrid {
  quant_math::LsqRule rule;  // not of a grid that stays on a device
  double factor = 1;         // of the sums
  bool has_offset = false;   // learned() is a scale and an offset, not a scale alone
};

// What every algorithm's quantizer of one tensor has: flags, the step, and codes on a grid. A
// subclass says where the grid comes from and what the gradient is. In training the values are
// observed first, during the float warm-up too; then, and before anything is known of them, the
// input passes through unchanged, and so does its gradient. State: fake_quant_enabled,
// observer_enabled, initialised, steps, and spec as int32: bits, signed, per channel, symmetric,
// axis, and NNI's rounding (1) + 2 fold mode of a weight; a file with another spec is refused.
class FakeQuantize : public Module {
 public:
  FakeQuantize(const Context& context, const FakeQuantizeArgs& args);
  std::string type_name() const override { return "FakeQuantize"; }
  std::string describe() const override;
  void check_buffer(const std::string& name, const std::string& full_name,
                    const Tensor& found) const override;
  Variable forward(const std::vector<Variable>& inputs) override;

  // Where spec.auto_dtype let the values decide, with what they decided.
  QuantSpec spec() const;
  // In words, for people: the spec's unless the algorithm has better ones.
  virtual std::string summary_of_spec() const { return spec().str(); }
  // Of one that is calibrated: what chose its range, in words; else "".
  virtual std::string observer_in_words() const { return ""; }
  QuantType type() const { return args_.type; }
  // Of a weight with a batch norm behind it: how that is folded. Part of the state.
  const std::optional<FoldMode>& fold() const { return fold_; }
  void set_fold(FoldMode fold);
  bool emits_codes() const { return args_.emits_codes && integer_obstacle().empty(); }
  // Why what it quantizes has no place in integer arithmetic; "" when it has one.
  virtual std::string integer_obstacle() const;
  // Whether the epilogue of a chain computes its codes and its gradient; else it stands behind the
  // chain, which then ends in floats.
  virtual bool fits_epilogue() const { return integer_obstacle().empty(); }
  // There: where the gradient passes, in steps from zero; and whether the code is that of the sign,
  // however near to zero.
  virtual quant_math::Pass pass() const;
  virtual bool is_sign() const { return false; }
  // pass() as a device finds it from its grid; kFixed: pass() needs none.
  virtual quant_math::PassRule pass_rule() const { return quant_math::PassRule::kCodes; }

  // Whether the next forward looks for NaN in values that nobody observes. A device would wait for
  // the answer: in training there, every hundredth step.
  bool checks_values() const { return checks_values_at(steps()); }
  bool checks_values_at(int64_t step) const {
    return context().on_cpu() || !training() || step % 100 == 1;
  }
  bool warm_up() const { return args_.spec.start_step > steps(); }
  // Whether the next forward will quantize.
  virtual bool will_quantize() const;
  // Whether the next forward will take its values in: in training, with the observer on.
  virtual bool observes() const;
  virtual bool initialised() const { return flag(*initialised_); }
  int64_t steps() const { return *steps_->data<int64_t>(); }
  void set_steps(int64_t steps) { *steps_->data<int64_t>() = steps; }
  // Grids that lie on a device, where the algorithm can do without the host.
  virtual std::optional<GridTensors> grid_tensors() const { return std::nullopt; }
  // Whether the next forward leaves them there, so that the host waits for nothing: a training step
  // of one that is initialised, observes nothing or there, and is not watched.
  bool stays_on_device() const;
  // Where it observes: whether the device tracks the range, and the host need not see it. Every
  // hundredth step it looks at the values.
  virtual bool observes_on_device() const { return false; }
  // Then: codes of this shape on the grid, not yet written.
  Codes codes_on_device(const Shape& shape) const;

  void enable(bool fake_quant, bool observer);
  bool fake_quant_enabled() const { return flag(*fake_quant_enabled_); }
  bool observer_enabled() const { return flag(*observer_enabled_); }

  // Takes a batch's values in: ranges, a first scale. Throws on NaN and infinities, changing
  // nothing, and on an empty batch.
  virtual void observe_values(const Tensor& x) = 0;
  // What the codes of a tensor of this rank mean, real = s (code - z), as it lies in memory: one
  // grid, or one for each position on the axis (spec().axis counts in PyTorch's layout, the
  // result's axis in NHWC and OHWI). Evaluation uses what the last training step left.
  virtual kernels::Grids grids(int rank) const = 0;
  // qmin and qmax of every grid, and the zero point of one that nothing is known of.
  virtual quant_math::Grid empty_grid() const { return quant_math::empty_grid(spec().rule()); }
  // What of x is rounded to a code: x itself, but where a rule of the algorithm comes first.
  virtual Tensor before_rounding(const Tensor& x) const { return x; }
  // The codes of x, int32, on grids(x.rank()); in the host's memory.
  virtual Tensor codes(const Tensor& x) const;
  // How many values of x lie beyond the codes, and are clipped.
  virtual int64_t count_clipped(const Tensor& x) const;
  // The range of real values that it represents, or tracks: one, or one per channel.
  virtual std::vector<kernels::Range> ranges() const = 0;
  // Ranges from elsewhere (a calibration file): they count from now on.
  virtual void set_ranges(const std::vector<kernels::Range>& ranges) = 0;
  // The same of scales and zero points, one or one per channel; nothing where they follow from the
  // values.
  virtual void set_grids(const std::vector<quant_math::Grid>&) {}
  // Parameters of the grid that are learned: further inputs of every operation that quantizes.
  virtual std::vector<Variable> learned() const { return {}; }
  // From dq, the gradient of the quantized values of x: those of input `at` of the operation, which
  // is x, and of the inputs from `first_learned` on. Of the grid and the parameters at the call.
  using GradientFn = std::function<void(const Tensor& dq, const Tensor& x, GradSink& sink,
                                        size_t at, size_t first_learned)>;
  virtual GradientFn gradient(const Shape& x) const;
  // The same for the output of a chain, whose x is only known as accumulators. Empty where nothing
  // is learned.
  virtual std::optional<LearnedGrid> learned_grid(const Shape&) const { return std::nullopt; }

  // Whether edges that share one scale (scale_group.h) may have it; and whether this is one's.
  virtual bool can_share_scale() const { return false; }
  virtual bool shares_scale() const { return false; }

  // Called with all that this quantizes from now on, as the network computes it: real values,
  // before they are rounded and clipped. Null: nobody.
  using Watcher = std::function<void(const Tensor& x)>;
  void watch(Watcher watcher) { watcher_ = std::move(watcher); }
  bool watched() const { return static_cast<bool>(watcher_); }
  // For who computes the codes elsewhere: a chain, a sum.
  void show(const Tensor& x) const { watcher_(x); }

  // After every optimizer step: clips, keeps scales positive.
  virtual void after_step() {}

  // Of per-tensor activations, as stored: uint8 codes; signed codes are stored 128 higher.
  QuantParams params() const;

 protected:
  // The quantized x, as codes or as floats, with gradient().
  virtual Variable quantize(const Variable& x);
  // The quantized x as floats.
  virtual void write_values(const Tensor& x, Tensor& y) const;
  // The operation on x whose result is `values`: rounded to codes where it emits them, else as they
  // are.
  Variable result(const Variable& x, const Tensor& values) const;
  void set_signed(bool on) { spec_->data<int32_t>()[1] = on; }
  void set_initialised(bool on) { *initialised_->data<uint8_t>() = on; }
  void check_not_empty(const Shape& shape) const;
  // Activations up to here: batch norm squares them, in float32.
  static constexpr float kLargestActivation = 0x1p60f;
  // Throws where an end of a range is NaN or infinite, or an activation's passes 2^60.
  void check_finite(const std::vector<kernels::Range>& seen) const;
  void check_finite(const Tensor& x) const;
  // The same of what nobody observes: clamping would hide what is wrong with it.
  void check_unobserved(const Variable& x) const;

 private:
  static bool flag(const Tensor& t) { return *t.data<uint8_t>() != 0; }
  bool on_this_grid(const Codes& codes) const;
  Codes device_grid(Tensor values) const;
  OpRecord record(const char* op, const Variable& x) const;
  GradientFn gradient_on_device(const Shape& x) const;

  std::vector<int32_t> spec_numbers() const;

  FakeQuantizeArgs args_;
  std::optional<FoldMode> fold_;
  Watcher watcher_;
  Tensor *fake_quant_enabled_, *observer_enabled_, *initialised_, *spec_, *steps_;
  mutable Tensor stored_zero_;     // of a device: the zero point of codes as they are stored
  mutable int64_t stored_at_ = 0;  // the step in which it was written
};

}  // namespace halftone
