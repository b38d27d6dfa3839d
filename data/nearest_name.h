// "unknown name; did you mean ...?"
#pragma once

#include <string>
#include <vector>

namespace halftone {

// The candidate with the smallest Levenshtein distance, or "" when none is within a third of the
// name's length (at least 2).
std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates);

}  // namespace halftone
