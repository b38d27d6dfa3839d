// What the recorded graph knows of the sign of values.
#pragma once

#include <string>

#include "autograd/graph.h"
#include "nn/module.h"

namespace halftone {

// kUnknown: it depends on the network's input.
enum class ValueSign : uint8_t { kNonNegative, kAny, kUnknown };

// Of what a module receives, and of what it returns. A module that runs more than once: over all of
// its calls. kUnknown for one that did not run.
ValueSign sign_of_input(Module& model, const Graph& graph, const std::string& path);
ValueSign sign_of_output(Module& model, const Graph& graph, const std::string& path);

}  // namespace halftone
