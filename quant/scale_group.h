// Edges that share one scale: what an addition needs to add codes.
#pragma once

#include <memory>
#include <vector>

#include "quant/range_quantize.h"

namespace halftone {

class GroupQuantize;

// The scale is the largest that any member's own range asks for, so every range fits.
struct ScaleGroup {
  std::vector<std::weak_ptr<GroupQuantize>> members;  // as they run
  // Takes every member's range into account, once all are known.
  void refresh();
};

// The quantizer of one edge of a group: uint, zero point 0 (an affine spec: values that are never
// negative) or 2^(bits - 1) (a symmetric one). In training the group's scale changes where its
// first member runs, with the ranges that the others had until then: one forward sees one scale.
// Until the ranges of all members are known, values pass through.
class GroupQuantize : public RangeQuantize {
 public:
  // follows: it has no range of its own (of a concatenation of members).
  GroupQuantize(const Context& context, const FakeQuantizeArgs& args,
                std::shared_ptr<ScaleGroup> group, bool follows);

  void set_ranges(const std::vector<kernels::Range>& ranges) override;
  bool follows() const { return follows_; }

 protected:
  void keep(const std::vector<kernels::Range>& ranges) override;

 private:
  friend struct ScaleGroup;
  bool leads() const;

  std::shared_ptr<ScaleGroup> group_;
  bool follows_;
};

}  // namespace halftone
