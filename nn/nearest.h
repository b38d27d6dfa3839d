// "Did you mean ...?"
#pragma once

#include <string>
#include <vector>

namespace halftone {

// The candidate with the fewest edits (Levenshtein 1966); "" when even that one differs in more than
// half of its letters.
std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates);

// " (did you mean X?)", or "".
std::string did_you_mean(const std::string& name, const std::vector<std::string>& candidates);

// "a, b, c, ... and 12 more": at most `limit` items are spelled out.
std::string short_list(const std::vector<std::string>& items, size_t limit = 8);

}  // namespace halftone
