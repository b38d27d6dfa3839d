#include "quant/scale_group.h"

#include <algorithm>

namespace halftone {

ScaleGroup::ScaleGroup(const std::vector<GroupMember>& members) {
  for (const GroupMember& m : members)
    members_.push_back({std::dynamic_pointer_cast<RangeQuantize>(m.quantizer), m.follows});
}

bool ScaleGroup::leads(const RangeQuantize& member) const {
  return members_[0].quantizer.lock().get() == &member;
}

bool ScaleGroup::follows(const RangeQuantize& member) const {
  return std::any_of(members_.begin(), members_.end(), [&](const Member& m) {
    return m.follows && m.quantizer.lock().get() == &member;
  });
}

void ScaleGroup::refresh() {
  float scale = 0;
  kernels::Range all{INFINITY, -INFINITY};
  std::vector<std::shared_ptr<RangeQuantize>> alive;
  for (const Member& m : members_) {
    alive.push_back(m.quantizer.lock());
    if (alive.back() == nullptr) return;
    if (m.follows) continue;
    if (!alive.back()->range_known()) return;
    const kernels::Range range = alive.back()->ranges()[0];
    scale = std::max(scale, alive.back()->grid_of(range).scale);
    all = {std::min(all.low, range.low), std::max(all.high, range.high)};
  }
  for (size_t i = 0; i < alive.size(); ++i) {
    RangeQuantize& member = *alive[i];
    quant_math::Grid grid = member.empty_grid();
    grid.scale = scale;
    member.store({members_[i].follows ? all : member.ranges()[0]}, {grid});
    member.set_initialised(true);
  }
}

LsqGroup::LsqGroup(const std::vector<GroupMember>& members) {
  for (const GroupMember& m : members)
    members_.push_back(std::dynamic_pointer_cast<LsqQuantize>(m.quantizer));
}

void LsqGroup::start() {
  float scale = 0;
  std::vector<std::shared_ptr<LsqQuantize>> alive;
  for (const auto& member : members_) {
    alive.push_back(member.lock());
    if (alive.back() == nullptr || !alive.back()->wanted_.has_value()) return;
    scale = std::max(scale, *alive.back()->wanted_);
  }
  if (scale == 0) return;
  alive[0]->scale.mutable_value().fill(scale);
  for (const auto& member : alive) member->set_initialised(true);
}

void share_scale(const std::vector<GroupMember>& members) {
  if (std::dynamic_pointer_cast<LsqQuantize>(members.at(0).quantizer) != nullptr) {
    const auto group = std::make_shared<LsqGroup>(members);
    auto& first = dynamic_cast<LsqQuantize&>(*members[0].quantizer);
    for (const GroupMember& m : members)
      dynamic_cast<LsqQuantize&>(*m.quantizer).join(group, first.scale, m.follows);
    return;
  }
  const auto group = std::make_shared<ScaleGroup>(members);
  for (const GroupMember& m : members) dynamic_cast<RangeQuantize&>(*m.quantizer).join(group);
}

}  // namespace halftone
