// Names in error texts.
#pragma once

#include <string>
#include <vector>

#include "tensor/nearest.h"

namespace halftone {

// " (did you mean X?)", or "" when none is near.
std::string did_you_mean(const std::string& name, const std::vector<std::string>& candidates);

// "a, b, c, ... and 12 more": at most `limit` items are spelled out.
std::string short_list(const std::vector<std::string>& items, size_t limit = 8);

// Throws: OP: expected one of KNOWN, found "NAME" (did you mean ...?).
[[noreturn]] void throw_unknown_name(const char* op, const std::string& name,
                                     const std::vector<std::string>& known);

}  // namespace halftone
