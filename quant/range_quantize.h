// A quantizer whose grid follows from an observed range.
#pragma once

#include "kernels/observe_cuda.h"
#include "quant/fake_quantize.h"

namespace halftone {

class ScaleGroup;

// y = s (clamp(rint(x / s) + z, qmin, qmax) - z); dx = dy where the rounded code lies in the range.
// In a group of edges: per tensor, uint, zero point 0 (an affine spec: values that are never
// negative) or 2^(bits - 1) (a symmetric one), and the scale is the group's.
// State beside FakeQuantize's: scale, zero_point, min_val, max_val; on a device, where training
// steps track the range. There members of a group have one scale in common.
class RangeQuantize : public FakeQuantize {
 public:
  RangeQuantize(const Context& context, const FakeQuantizeArgs& args);

  void observe_values(const Tensor& x) override;
  // The same from the ranges of a batch: one, or one per channel.
  void observe(const std::vector<kernels::Range>& seen);
  bool observes_on_device() const override;
  std::optional<GridTensors> grid_tensors() const override;
  // Of such a one, for a kernel that sees the values: how, and where, it tracks their ranges; then
  // tracked() is called. Not of one whose values are another's. From its second call in a step on
  // the grid is a new one: what the earlier calls made keeps theirs, as on the CPU.
  kernels::cuda::ObserveArgs tracking();
  void tracked();
  // Whether its values are another's, which observes them.
  bool follows() const;
  kernels::Grids grids(int rank) const override;
  std::vector<kernels::Range> ranges() const override;
  void set_ranges(const std::vector<kernels::Range>& ranges) override;
  void set_grids(const std::vector<quant_math::Grid>& list) override;
  bool can_share_scale() const override { return true; }
  bool shares_scale() const override { return group_ != nullptr; }
  // Before anything is known of its values.
  void join(std::shared_ptr<ScaleGroup> group, const RangeQuantize& first);

 protected:
  // Whether the group may count on its range.
  virtual bool range_known() const { return ranges()[0].low <= ranges()[0].high; }
  // What becomes of the ranges that observe() has tracked.
  void keep(const std::vector<kernels::Range>& ranges);
  virtual quant_math::Grid grid_of(const kernels::Range& range) const;
  // What set_ranges() writes, without `initialised`.
  void store(const std::vector<kernels::Range>& ranges, const std::vector<quant_math::Grid>& grids);
  // From here on the host has the state.
  void keep_at_home();
  // Of one of a device that does so: for a kernel that tracks ranges without a grid. They lie on
  // the device until keep_at_home().
  kernels::cuda::ObserveArgs tracking_ranges(int64_t channels);
  // Whether the device saw values that are not finite; asked once for each time.
  bool saw_not_finite();
  // The same with the grids of the ranges.
  void store(const std::vector<kernels::Range>& ranges);

 private:
  friend class ScaleGroup;
  std::shared_ptr<ScaleGroup> group_;
  void check_tracked();
  void leave_grid();
  Tensor *scale_, *zero_point_, *min_, *max_;
  int64_t tracked_at_ = 0;  // of a device: the last step in which it tracked the range
  bool again_ = false;      // and more than once
  Tensor not_finite_;       // of a device: 1 where values that nobody looked at were not finite
};

}  // namespace halftone
