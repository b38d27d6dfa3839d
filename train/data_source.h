// Finding a recipe's data.
#pragma once

#include <memory>
#include <string>

#include "data/dataset.h"
#include "train/recipe.h"

namespace halftone {

// The folder that holds a set: `dir` when given, else $HALFTONE_DATA/NAME, else the cache folder
// (${XDG_CACHE_HOME:-~/.cache}/halftone/NAME); "" when none of them exists, and for generated sets.
std::string find_data_dir(const std::string& name, const std::string& dir);

struct DataPair {
  std::shared_ptr<const Dataset> train, test;
};
DataPair load_data(const Context& context, const DataRecipe& recipe);
std::shared_ptr<const Dataset> load_split(const Context& context, const DataRecipe& recipe,
                                          Split split);

}  // namespace halftone
