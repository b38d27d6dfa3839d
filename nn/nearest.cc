#include "nn/nearest.h"

#include <algorithm>
#include <numeric>

namespace halftone {
namespace {

size_t edits(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t change = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({change, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates) {
  std::string best;
  size_t fewest = std::string::npos;
  for (const std::string& candidate : candidates) {
    const size_t distance = edits(name, candidate);
    if (distance < fewest && 2 * distance <= candidate.size()) {
      best = candidate;
      fewest = distance;
    }
  }
  return best;
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

}  // namespace halftone
