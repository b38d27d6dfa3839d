// A chain's training step whose constants a device computes for itself: scales, batch norm folded
// into them, and the gradients of both, with the functions that chain_step.cc uses on the CPU
// (kernels/integer/chain_math.h), so with its codes. Ranges are tracked there too. Nothing in it
// waits for the device, so that whole steps are recorded (train/step_graph.h). Inside //quant only.
#pragma once

#include <optional>

#include "quant/chain.h"

namespace halftone {

// How its sums are made.
struct DeviceSums {
  int shift = 0;      // of the weights' codes
  bool whole = true;  // in one part: they stay exact in float32
};
// Of a step of the chain on codes x that is such a one: where every grid stays on the device, and
// batch norm is folded into the scale, or there is none.
std::optional<DeviceSums> sums_on_device(const Chain& chain, const Variable& x);
// The chain's result; moves the running statistics.
Variable run_on_device(Chain& chain, const Variable& x, const DeviceSums& sums);

}  // namespace halftone
