// Where blocks of memory lie that are needed at different times.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <vector>

namespace halftone::runtime {

// Needed from step `first` to step `last`.
struct Block {
  int64_t bytes = 0;
  size_t first = 0, last = 0;
};

struct BlockPlan {
  std::vector<int64_t> offset;  // one per block
  int64_t bytes = 0;
};

// First fit; blocks in the order of their first step.
BlockPlan plan_blocks(const std::vector<Block>& blocks);

}  // namespace halftone::runtime
