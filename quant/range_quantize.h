// A quantizer whose grid follows from an observed range.
#pragma once

#include "quant/fake_quantize.h"

namespace halftone {

// y = s (clamp(rint(x / s) + z, qmin, qmax) - z); dx = dy where the rounded code lies in the range.
// State beside FakeQuantize's: scale, zero_point, min_val, max_val.
class RangeQuantize : public FakeQuantize {
 public:
  RangeQuantize(const Context& context, const FakeQuantizeArgs& args);

  void observe_values(const Tensor& x) override;
  // The same from the ranges of a batch: one, or one per channel.
  void observe(const std::vector<kernels::Range>& seen);
  kernels::Grids grids(int rank) const override;
  std::vector<kernels::Range> ranges() const override;
  void set_ranges(const std::vector<kernels::Range>& ranges) override;
  void set_grids(const std::vector<quant_math::Grid>& list) override;

 protected:
  // What becomes of the ranges that observe() has tracked.
  virtual void keep(const std::vector<kernels::Range>& ranges) { set_ranges(ranges); }
  virtual quant_math::Grid grid_of(const kernels::Range& range) const;
  // What set_ranges() writes, without `initialised`.
  void store(const std::vector<kernels::Range>& ranges, const std::vector<quant_math::Grid>& grids);
  // The same with the grids of the ranges.
  void store(const std::vector<kernels::Range>& ranges);

 private:
  Tensor *scale_, *zero_point_, *min_, *max_;
};

}  // namespace halftone
