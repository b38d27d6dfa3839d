#include "deploy/c_buffer.h"

#include "deploy/runtime/buffer_plan.h"

namespace halftone {

BufferPlan plan_buffer(const runtime::Program& program) {
  std::vector<runtime::Block> blocks;
  std::vector<size_t> block_of(program.values.size());
  for (size_t i = 0; i < program.ops.size(); ++i) {
    for (const int32_t v : program.ops[i].inputs) {
      if (v > 0) blocks[block_of[v]].last = i;
    }
    const int32_t v = program.ops[i].output;
    if (program.values[v].is_float) continue;
    block_of[v] = blocks.size();
    const bool result = v + 1 == static_cast<int32_t>(program.values.size());
    blocks.push_back({program.values[v].shape.size(), i, result ? program.ops.size() : i});
  }
  const runtime::BlockPlan placed = runtime::plan_blocks(blocks);
  BufferPlan plan;
  plan.offset.assign(program.values.size(), -1);
  plan.bytes = placed.bytes;
  size_t next = 0;
  for (size_t v = 1; v < program.values.size(); ++v) {
    if (!program.values[v].is_float) plan.offset[v] = placed.offset[next++];
  }
  return plan;
}

}  // namespace halftone
