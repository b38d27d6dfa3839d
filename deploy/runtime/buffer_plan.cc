#include "deploy/runtime/buffer_plan.h"

#include <algorithm>

namespace halftone::runtime {
namespace {

struct Placed {
  int64_t begin, end;
  size_t last;
};

// The first gap of `bytes` between blocks in order.
int64_t first_gap(const std::vector<Placed>& placed, int64_t bytes) {
  int64_t at = 0;
  for (const Placed& b : placed) {
    if (at + bytes <= b.begin) break;
    at = std::max(at, b.end);
  }
  return at;
}

}  // namespace

BlockPlan plan_blocks(const std::vector<Block>& blocks) {
  BlockPlan plan;
  std::vector<Placed> placed;
  for (const Block& block : blocks) {
    const auto dead = [&](const Placed& b) { return b.last < block.first; };
    placed.erase(std::remove_if(placed.begin(), placed.end(), dead), placed.end());
    const int64_t at = first_gap(placed, block.bytes);
    plan.offset.push_back(at);
    plan.bytes = std::max(plan.bytes, at + block.bytes);
    placed.push_back({at, at + block.bytes, block.last});
    std::sort(placed.begin(), placed.end(),
              [](const Placed& a, const Placed& b) { return a.begin < b.begin; });
  }
  return plan;
}

}  // namespace halftone::runtime
