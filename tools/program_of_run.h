// The integer program of a run, for the subcommands that want one.
#pragma once

#include <memory>
#include <string>

#include "data/dataset.h"
#include "deploy/compile.h"
#include "train/evaluate_run.h"

namespace halftone::tools {

struct RunProgram {
  LoadedRun run;
  ProgramSource source;
  CompiledProgram compiled;
};

// Throws for a float run, and for one that has no integer form. `op`: the subcommand.
RunProgram compile_run(const EvaluateRequest& request, const std::string& op);

}  // namespace halftone::tools
