// Where a run goes, and what it starts from.
#pragma once

#include <string>
#include <vector>

#include "train/trainer.h"

namespace halftone {

// The recipe of `halftone train RECIPE --set ... --out DIR` or `--resume DIR`, with options.out and
// options.resume set. A fresh run refuses a folder that holds a run already. A resumed one takes
// the recipe in its checkpoint; a recipe or overrides given with it may change only how long and
// where (epochs, threads, checkpoint_minutes, data.dir, data.workers): anything else is an Error
// that names the first difference.
Recipe prepare_run(const std::string& recipe_file, const std::vector<std::string>& overrides,
                   const std::string& out, const std::string& resume, TrainOptions& options);

}  // namespace halftone
