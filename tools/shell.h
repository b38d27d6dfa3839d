// Commands for the shell.
#pragma once

#include <string>

namespace halftone::tools {

// One word, whatever it holds: ' becomes '\''.
inline std::string quoted(const std::string& s) {
  std::string text = "'";
  for (char c : s) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + "'";
}

}  // namespace halftone::tools
