// What every program of ours does around its work.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>

#include "tensor/error.h"

namespace halftone::tools {

// At the end of every parallel loop libgomp's threads spin for milliseconds before they sleep. With
// as many threads as cores and anything else running, each loop then waits for a thread that is not
// running: a training takes twenty times as long. Spinning for some microseconds costs an idle
// machine nothing that can be measured (docs/benchmarks.md). libgomp reads the variable before
// main(), so the program starts itself again; whoever set one of the two is left alone.
inline void wait_briefly(char** argv) {
  if (getenv("GOMP_SPINCOUNT") != nullptr || getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("GOMP_SPINCOUNT", "1000", 1);
  execv("/proc/self/exe", argv);  // where that fails, this process goes on
}

// No option takes an empty word, as an unset variable of a script makes; and reports and
// checkpoints are JSON and hold paths and names.
inline void check_arguments(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool option = word.rfind("--", 0) == 0 && word.find('=') + 1 == word.size();
    if (word.empty() || option) {
      throw HALFTONE_ERROR("arguments")
          .at("argument " + std::to_string(i) +
              (i > 1 ? ", behind " + std::string(argv[i - 1]) : ""))
          .expected("a value")
          .found("nothing");
    }
    try {
      nlohmann::json(word).dump();
    } catch (const nlohmann::json::type_error&) {
      throw HALFTONE_ERROR("arguments")
          .at("argument " + std::to_string(i))
          .expected("UTF-8")
          .found("bytes that are none");
    }
  }
}

// The exit status, given what the work says: 1 where standard output did not take the result.
inline int finish(const char* program, int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  std::fprintf(stderr, "%s: standard output: expected room for the result, found: %s\n", program,
               std::strerror(errno));
  return code == 0 ? 1 : code;
}

// Help, or one line on standard error. The exit status: 2 for a command that was not understood.
inline int finish(const char* program, const CLI::App& app, const CLI::ParseError& e) {
  if (e.get_exit_code() == 0) return finish(program, app.exit(e));
  std::fprintf(stderr, "%s: %s (%s --help says more)\n", program, e.what(), program);
  return 2;
}

}  // namespace halftone::tools
