#include "quant/scale_group.h"

#include <algorithm>

namespace halftone {
namespace {

bool is_known(const kernels::Range& r) { return r.low <= r.high; }

}  // namespace

void ScaleGroup::refresh() {
  float scale = 0;
  kernels::Range all{INFINITY, -INFINITY};
  std::vector<std::shared_ptr<GroupQuantize>> alive;
  for (const auto& member : members) {
    alive.push_back(member.lock());
    if (alive.back() == nullptr) return;
    if (alive.back()->follows()) continue;
    const kernels::Range range = alive.back()->ranges()[0];
    if (!is_known(range)) return;
    scale = std::max(scale, alive.back()->grid_of(range).scale);
    all = {std::min(all.low, range.low), std::max(all.high, range.high)};
  }
  for (const auto& member : alive) {
    const kernels::Range range = member->follows() ? all : member->ranges()[0];
    quant_math::Grid grid = member->empty_grid();
    grid.scale = scale;
    member->store({range}, {grid});
    member->set_initialised(true);
  }
}

GroupQuantize::GroupQuantize(const Context& context, const FakeQuantizeArgs& args,
                             std::shared_ptr<ScaleGroup> group, bool follows)
    : RangeQuantize(context, args), group_(std::move(group)), follows_(follows) {}

bool GroupQuantize::leads() const {
  return !group_->members.empty() && group_->members[0].lock().get() == this;
}

void GroupQuantize::keep(const std::vector<kernels::Range>& ranges) {
  if (follows_) return;
  store(ranges, grids(1).list);
  if (leads() || !initialised()) group_->refresh();
}

void GroupQuantize::set_ranges(const std::vector<kernels::Range>& ranges) {
  if (follows_) return;
  store(ranges, grids(1).list);
  group_->refresh();
}

}  // namespace halftone
