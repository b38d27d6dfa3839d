#include "quant/scale_group.h"

#include <algorithm>
#include <utility>

#include "kernels/chain_cuda.h"
#include "kernels/device_call.h"

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

// A new place for it, where not only the members hold it.
void ScaleGroup::leave_scale() {
  Tensor common;
  for (const Member& m : members_) {
    if (const auto member = m.quantizer.lock()) common = std::exchange(*member->scale_, Tensor());
  }
  if (!common.unique()) common = common.clone();
  for (const Member& m : members_) {
    if (const auto member = m.quantizer.lock()) *member->scale_ = common;
  }
}

void ScaleGroup::refresh_on_device(bool again) {
  if (again) leave_scale();
  namespace device = kernels::cuda;
  std::vector<device::SharedRange> ranges;
  const auto first = members_[0].quantizer.lock();
  for (const Member& m : members_) {
    const auto member = m.quantizer.lock();
    if (member == nullptr) return;
    ranges.push_back({static_cast<float*>(member->min_->raw()),
                      static_cast<float*>(member->max_->raw()), member->spec().rule(), m.follows});
  }
  // Once: what it names stays where it is.
  const Context& context = first->scale_->context();
  const int64_t bytes = static_cast<int64_t>(ranges.size() * sizeof(device::SharedRange));
  if (!table_.defined()) {
    const auto* words = reinterpret_cast<const uint8_t*>(ranges.data());
    table_ = Tensor::from(context.host(), {bytes}, std::vector<uint8_t>(words, words + bytes))
                 .to(context);
  }
  kernels::launch<&device::share_scale>(
      table_, device::ShareScaleArgs{static_cast<int>(ranges.size()),
                                     static_cast<const device::SharedRange*>(table_.raw()),
                                     static_cast<float*>(first->scale_->raw())});
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
  const auto& first = dynamic_cast<RangeQuantize&>(*members[0].quantizer);
  for (const GroupMember& m : members)
    dynamic_cast<RangeQuantize&>(*m.quantizer).join(group, first);
}

}  // namespace halftone
