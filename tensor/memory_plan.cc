#include "tensor/memory_plan.h"

#include <algorithm>
#include <numeric>

namespace halftone {
namespace {

bool live_together(const PlannedBlock& a, const PlannedBlock& b) {
  return a.first < b.last && b.first < a.last;
}

// Lowest offset at which `block` meets none of `placed`, which is sorted by offset.
size_t first_fit(const PlannedBlock& block, const std::vector<const PlannedBlock*>& placed) {
  size_t offset = 0;
  for (const PlannedBlock* other : placed) {
    if (!live_together(block, *other)) continue;
    if (offset + block.bytes <= other->offset) break;
    offset = std::max(offset, other->offset + other->bytes);
  }
  return offset;
}

}  // namespace

size_t assign_offsets(std::vector<PlannedBlock>* blocks) {
  std::vector<PlannedBlock*> by_size;
  for (PlannedBlock& block : *blocks) {
    if (block.placed()) by_size.push_back(&block);
  }
  std::stable_sort(by_size.begin(), by_size.end(),
                   [](auto* a, auto* b) { return a->bytes > b->bytes; });
  std::vector<const PlannedBlock*> placed;
  size_t total = 0;
  for (PlannedBlock* block : by_size) {
    block->offset = first_fit(*block, placed);
    total = std::max(total, block->offset + block->bytes);
    const auto after = std::upper_bound(placed.begin(), placed.end(), block,
                                        [](auto* a, auto* b) { return a->offset < b->offset; });
    placed.insert(after, block);
  }
  return total;
}

uint32_t MemoryPlan::record_allocation(size_t bytes) {
  const uint32_t index = static_cast<uint32_t>(blocks_.size());
  PlannedBlock block;
  block.bytes = bytes;
  block.first = static_cast<uint32_t>(events_.size());
  blocks_.push_back(block);
  events_.push_back({true, index});
  return index;
}

void MemoryPlan::record_release(uint32_t block) {
  blocks_[block].last = static_cast<uint32_t>(events_.size());
  events_.push_back({false, block});
}

}  // namespace halftone
