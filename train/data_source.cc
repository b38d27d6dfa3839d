#include "train/data_source.h"

namespace halftone {

std::shared_ptr<const Dataset> load_split(const Context& context, const DataRecipe& recipe,
                                          Split split) {
  DatasetOptions options;
  options.data_dir = recipe.dir;
  options.coarse_labels = recipe.coarse_labels;
  options.resize = recipe.resize;
  options.crop = recipe.crop;
  options.limit = split == Split::kTrain ? recipe.train_samples : recipe.test_samples;
  return std::make_shared<const Dataset>(load_dataset(context, recipe.name, split, options));
}

DataPair load_data(const Context& context, const DataRecipe& recipe) {
  return {load_split(context, recipe, Split::kTrain), load_split(context, recipe, Split::kTest)};
}

}  // namespace halftone
