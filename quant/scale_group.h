// Edges that share one scale: what an addition needs to add codes.
#pragma once

#include <memory>
#include <vector>

#include "quant/lsq_quantize.h"
#include "quant/range_quantize.h"

namespace halftone {

// The quantizer of one edge. follows: the edge is a concatenation of others of its group, so that
// it has no values of its own to observe.
struct GroupMember {
  std::shared_ptr<FakeQuantize> quantizer;
  bool follows = false;
};

// Of observed ranges: the scale is the largest that any member's own range asks for, so every range
// fits. In training it changes where the first member runs, with the ranges that the others had
// until then: one forward sees one scale. Until the ranges of all members are known, values pass
// through.
class ScaleGroup {
 public:
  explicit ScaleGroup(const std::vector<GroupMember>& members);
  // Takes every member's range into account, once all are known.
  void refresh();
  // The same once they are, of ranges that lie on a device. again: for the second time in a step,
  // so that codes may have the scale that there was.
  void refresh_on_device(bool again);
  bool leads(const RangeQuantize& member) const;
  bool follows(const RangeQuantize& member) const;

 private:
  struct Member {
    std::weak_ptr<RangeQuantize> quantizer;
    bool follows;
  };
  void leave_scale();
  std::vector<Member> members_;  // as they run
  Tensor table_;                 // of a device: cuda::SharedRange each
};

// Of learned scales: one parameter, the first member's, with the sum of the members' gradients. It
// starts as the largest first scale that a member's own values ask for (of all, the larger where
// values are of different size, so that none is clipped much), once all have seen a batch. Members
// that saw nothing but zeros ask for none.
class LsqGroup {
 public:
  explicit LsqGroup(const std::vector<GroupMember>& members);
  void start();

 private:
  std::vector<std::weak_ptr<LsqQuantize>> members_;
};

// Makes one group of quantizers of the same kind, all RangeQuantize or all LsqQuantize.
void share_scale(const std::vector<GroupMember>& members);

}  // namespace halftone
