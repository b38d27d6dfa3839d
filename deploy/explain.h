// Which arithmetic turns the codes that one operation reads into those that a party found.
// Inside //deploy only.
#pragma once

#include <string>
#include <vector>

#include "deploy/oracle.h"

namespace halftone {

// Of operation `op` on one image: `codes` are what it reads, `found` and `found_reals` are the
// whole of its result.
std::string explain(const runtime::Program& program, size_t op, const CodeTensors& codes,
                    const std::vector<uint8_t>& found, const std::vector<float>& found_reals);

}  // namespace halftone
