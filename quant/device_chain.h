// A chain's training step whose constants a device computes for itself: scales, batch norm folded
// into them, and the gradients of both, with the functions that chain_step.cc uses on the CPU
// (kernels/integer/chain_math.h), so with its codes. Ranges are tracked there too. Nothing in it
// waits for the device, so that whole steps are recorded (train/step_graph.h). Inside //quant only.
#pragma once

#include "quant/chain.h"

namespace halftone {

// Whether this step of the chain, on codes x, is such a one: where every grid stays on the device,
// and batch norm is folded into the scale, or there is none.
bool runs_on_device(const Chain& chain, const Variable& x);
// The chain's result; moves the running statistics.
Variable run_on_device(Chain& chain, const Variable& x);

}  // namespace halftone
