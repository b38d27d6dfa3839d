// Names in error texts: suggestions for misspelt ones, short lists.
#pragma once

#include <string>
#include <vector>

namespace halftone {

// The candidate with the smallest edit distance to `word`; "" when none is near (more than 2 edits
// and more than a third of the word) and none begins like it (QAT for QAT_Quantizer). Case does not
// count.
std::string nearest_name(const std::string& word, const std::vector<std::string>& candidates);

// " (did you mean X?)" with the nearest candidate, or "" when none is near.
std::string did_you_mean(const std::string& name, const std::vector<std::string>& candidates);

// "a, b, c, ... and 12 more": at most `limit` items are spelled out.
std::string short_list(const std::vector<std::string>& items, size_t limit = 8);

// Throws: OP: expected one of KNOWN, found "NAME" (did you mean ...?).
[[noreturn]] void throw_unknown_name(const char* op, const std::string& name,
                                     const std::vector<std::string>& known);

}  // namespace halftone
