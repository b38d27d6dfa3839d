// A recipe's data.
#pragma once

#include <memory>

#include "data/dataset.h"
#include "train/recipe.h"

namespace halftone {

struct DataPair {
  std::shared_ptr<const Dataset> train, test;
};
DataPair load_data(const Context& context, const DataRecipe& recipe);
std::shared_ptr<const Dataset> load_split(const Context& context, const DataRecipe& recipe,
                                          Split split);

}  // namespace halftone
