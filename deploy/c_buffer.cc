#include "deploy/c_buffer.h"

#include <algorithm>

namespace halftone {
namespace {

struct Block {
  int64_t begin, end;
  size_t last_use;  // an operation
};

// The first gap of `bytes` between blocks in order.
int64_t first_gap(const std::vector<Block>& blocks, int64_t bytes) {
  int64_t at = 0;
  for (const Block& b : blocks) {
    if (at + bytes <= b.begin) break;
    at = std::max(at, b.end);
  }
  return at;
}

std::vector<size_t> last_uses(const runtime::Program& program) {
  std::vector<size_t> last(program.values.size(), program.ops.size());
  for (size_t v = 0; v + 1 < program.values.size(); ++v) last[v] = v == 0 ? 0 : v - 1;
  for (size_t i = 0; i < program.ops.size(); ++i) {
    for (const int32_t v : program.ops[i].inputs) last[v] = i;
  }
  return last;
}

}  // namespace

BufferPlan plan_buffer(const runtime::Program& program) {
  BufferPlan plan;
  plan.offset.assign(program.values.size(), -1);
  const std::vector<size_t> last = last_uses(program);
  std::vector<Block> blocks;
  for (size_t i = 0; i < program.ops.size(); ++i) {
    const auto dead = [i](const Block& b) { return b.last_use < i; };
    blocks.erase(std::remove_if(blocks.begin(), blocks.end(), dead), blocks.end());
    const int32_t v = program.ops[i].output;
    if (program.values[v].is_float) continue;
    const int64_t bytes = program.values[v].shape.size(), at = first_gap(blocks, bytes);
    plan.offset[v] = at;
    plan.bytes = std::max(plan.bytes, at + bytes);
    blocks.push_back({at, at + bytes, last[v]});
    std::sort(blocks.begin(), blocks.end(),
              [](const Block& a, const Block& b) { return a.begin < b.begin; });
  }
  return plan;
}

}  // namespace halftone
