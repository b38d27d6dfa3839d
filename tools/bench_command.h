// What the benchmarks share: the other half in a process of its own, and the median of rounds.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace halftone::tools {

// What a command printed: its last JSON object (null when there was none), and the last line that
// was not JSON.
struct Outcome {
  nlohmann::ordered_json result;
  std::string last_line;
};

inline Outcome run_command(const std::string& command) {
  Outcome outcome;
  std::FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return {nullptr, "cannot start a process"};
  std::vector<char> buffer(1 << 16);
  while (std::fgets(buffer.data(), static_cast<int>(buffer.size()), pipe) != nullptr) {
    const std::string line(buffer.data(), std::strcspn(buffer.data(), "\n"));
    const auto j = nlohmann::ordered_json::parse(line, nullptr, false);
    if (j.is_object()) {
      outcome.result = j;
    } else if (!line.empty()) {
      outcome.last_line = line;
    }
  }
  const int status = pclose(pipe);
  if (outcome.last_line.empty()) outcome.last_line = fmt::format("ended with status {}", status);
  return outcome;
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

}  // namespace halftone::tools
