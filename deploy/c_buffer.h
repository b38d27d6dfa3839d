// Where the tensors of a program lie in one buffer. Inside this folder.
#pragma once

#include <stdint.h>

#include <vector>

#include "deploy/runtime/program.h"

namespace halftone {

struct BufferPlan {
  std::vector<int64_t> offset;  // one per value; -1 for the input and for float results
  int64_t bytes = 0;
};

// First fit, in the order of the operations: a tensor's place is free behind its last reader.
BufferPlan plan_buffer(const runtime::Program& program);

}  // namespace halftone
