// The operations that bench_kernels times, one list per device.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tensor/context.h"

namespace halftone::tools {

struct BenchOp {
  std::string name;    // as bench_kernels_torch.py calls its counterpart, if it has one
  std::string layout;  // of the grids: tensor, nhwc (last axis), ohwi (first axis); "" without
  std::string dtype;   // of operand and result
  double bytes;        // read and written at least, per element
  std::function<void()> run;  // once; on a device: waits until it is done
};

// On the processor, over 64 * pixels * 64 values: an NHWC activation of (64, pixels, 1, 64) or a
// weight of (64, pixels * 64). Two copies come first: memcpy on every thread, and the same past the
// cache.
std::vector<BenchOp> cpu_ops(const Context& context, int64_t pixels);

}  // namespace halftone::tools
