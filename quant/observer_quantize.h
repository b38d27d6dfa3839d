// The module in a slot of a network that is calibrated, then quantized.
#pragma once

#include "quant/histogram_search.h"
#include "quant/range_quantize.h"

namespace halftone {

// Until fix(): every forward in evaluation mode takes the values in and passes them through
// unchanged (a trace does not count). From then on it is a RangeQuantize whose range stays. A
// weight has nothing to observe in a forward: observe_values() fixes it.
// State beside RangeQuantize's: batches, and `observer`: kind of observer and reduce_range, as
// int32; until fix(), min_val and max_val are what was tracked, and histogram (int64 or float32)
// and histogram_range hold the counts. A range without batches is fixed: of a member of a group
// whose others still record.
class ObserverQuantize : public RangeQuantize {
 public:
  ObserverQuantize(const Context& context, const FakeQuantizeArgs& args);
  std::string describe() const override;
  std::string observer_in_words() const override;
  void check_buffer(const std::string& name, const std::string& full_name,
                    const Tensor& found) const override;

  bool observes() const override;
  bool will_quantize() const override { return initialised() && RangeQuantize::will_quantize(); }
  // Throws once the range is fixed, and on NaN, infinities and an empty batch, changing nothing. On
  // a device nobody waits for the values: what is not finite is left out, and fix() throws.
  void observe_values(const Tensor& x) override;
  // Taken in so far; 0 once the range is fixed.
  int64_t batches() const { return *batches_->data<int64_t>(); }
  bool is_fixed() const { return range_known(); }
  // Throws when nothing was observed, or a device saw what is not finite.
  void check_calibrated();
  // Range and grid from what was observed, which is forgotten then. A second call does nothing. In
  // a group every member finds its own range, and they share the largest scale.
  void fix();
  // Under NNI's arithmetic min_val and max_val become what the codes represent, as NNI exports it.
  void set_ranges(const std::vector<kernels::Range>& ranges) override;

 protected:
  // NNI divides a weight's range by 127.5, and clamps to -127 .. 127 nevertheless (its bug O2).
  quant_math::Grid grid_of(const kernels::Range& range) const override;
  // What is tracked until fix() is no range yet.
  bool range_known() const override;

 private:
  void track(const std::vector<kernels::Range>& seen);
  void update(const Tensor& x);
  bool counts_exactly() const { return spec().observer != ObserverKind::kHistogram; }
  void observe_on_device(const Tensor& x, int axis);
  void count_on_device(const Tensor& x, const float* low, const float* high);
  kernels::Range searched() const;
  int levels() const;
  int64_t bins() const;

  Tensor *batches_, *histogram_, *histogram_range_;
  Tensor more_;  // of a device: a batch's counts
};

}  // namespace halftone
