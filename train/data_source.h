// A recipe's data.
#pragma once

#include <memory>

#include "data/loader.h"
#include "train/recipe.h"

namespace halftone {

struct DataPair {
  std::shared_ptr<const Dataset> train, test;
};
// `folder` of --data, "" where it was not given; throws where the set has no files.
void use_folder(const std::string& op, const std::string& folder, DataRecipe& recipe);
DataPair load_data(const Context& context, const DataRecipe& recipe);
std::shared_ptr<const Dataset> load_split(const Context& context, const DataRecipe& recipe,
                                          Split split);
// Shuffled and augmented batches of a training set, as the recipe has them.
std::unique_ptr<Loader> training_loader(const Context& context, const Recipe& recipe,
                                        const std::shared_ptr<const Dataset>& set);

}  // namespace halftone
