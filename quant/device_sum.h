// A sum of codes in a training step that stays on a device, as device_chain.h does for layers.
// Inside //quant only.
#pragma once

#include "quant/sum.h"

namespace halftone {

// Whether this step of the sum is such a one: codes of the scale that its output has on the device,
// around zero points that the host knows, behind an activation whose bounds are no steps of it.
bool runs_on_device(const Sum& sum, const std::vector<Variable>& inputs);
Variable run_on_device(Sum& sum, const std::vector<Variable>& inputs);

}  // namespace halftone
