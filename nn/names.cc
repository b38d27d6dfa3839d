#include "nn/names.h"

#include <algorithm>

#include "tensor/error.h"

namespace halftone {

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
