#include "tensor/nearest.h"

#include <algorithm>
#include <cctype>
#include <limits>
#include <numeric>

#include "tensor/error.h"

namespace halftone {
namespace {

bool same_letter(char a, char b) {
  return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
}

// Levenshtein's distance, one row at a time; upper and lower case are the same.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitute = diagonal + !same_letter(a[i - 1], b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
    }
  }
  return row.back();
}

// The candidate that has the longest beginning in common with `word`: all of either, if it has
// three letters, or half the word.
std::string same_beginning(const std::string& word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_length = 2;
  for (const std::string& c : candidates) {
    size_t n = 0;
    while (n < std::min(word.size(), c.size()) && same_letter(word[n], c[n])) ++n;
    const bool whole = n == word.size() || n == c.size();
    if (n > best_length && (whole || 2 * n > word.size())) best = c, best_length = n;
  }
  return best;
}

}  // namespace

std::string nearest_name(const std::string& word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = std::numeric_limits<size_t>::max();
  for (const std::string& c : candidates) {
    const size_t d = edit_distance(word, c);
    if (d < best_distance) best = c, best_distance = d;
  }
  if (best_distance <= std::max<size_t>(2, word.size() / 3)) return best;
  return same_beginning(word, candidates);
}

std::string did_you_mean(const std::string& name, const std::vector<std::string>& candidates) {
  const std::string best = nearest_name(name, candidates);
  return best.empty() ? "" : " (did you mean " + best + "?)";
}

std::string short_list(const std::vector<std::string>& items, size_t limit) {
  std::string text;
  for (size_t i = 0; i < std::min(limit, items.size()); ++i) text += (i ? ", " : "") + items[i];
  if (items.size() > limit) text += ", ... and " + std::to_string(items.size() - limit) + " more";
  return text;
}

void throw_unknown_name(const char* op, const std::string& name,
                        const std::vector<std::string>& known) {
  throw HALFTONE_ERROR(op)
      .expected("one of " + short_list(known, known.size()))
      .found("\"" + name + "\"" + did_you_mean(name, known));
}

}  // namespace halftone
