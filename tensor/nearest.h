// Suggestions for misspelt names.
#pragma once

#include <string>
#include <vector>

namespace halftone {

// The candidate with the smallest edit distance to `word`; "" when none is near (more than 2 edits
// and more than a third of the word).
std::string nearest_name(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace halftone
