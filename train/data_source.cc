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
  try {
    return std::make_shared<const Dataset>(load_dataset(context, recipe.name, split, options));
  } catch (Error& e) {
    throw e.inside(recipe.lines.at(recipe.dir.empty() ? "name" : "dir"));
  }
}

void use_folder(const std::string& op, const std::string& folder, DataRecipe& recipe) {
  if (folder.empty()) return;
  recipe.dir = folder;
  recipe.lines.keys["dir"] = "--data";
  if (dataset_takes(recipe.name, "data_dir")) return;
  throw HALFTONE_ERROR(op)
      .at("--data")
      .expected("no folder: " + recipe.name + " is made, not read")
      .found(folder)
      .fix("name the set that lies there, as in --set data.name=mnist");
}

DataPair load_data(const Context& context, const DataRecipe& recipe) {
  return {load_split(context, recipe, Split::kTrain), load_split(context, recipe, Split::kTest)};
}

std::unique_ptr<Loader> training_loader(const Context& context, const Recipe& recipe,
                                        const std::shared_ptr<const Dataset>& set) {
  LoaderOptions options;
  options.batch_size = recipe.batch_size;
  options.workers = recipe.data.workers;
  options.seed = static_cast<uint64_t>(recipe.seed);
  options.drop_last = recipe.data.drop_last;
  options.augmentation.pad = recipe.data.pad_crop;
  options.augmentation.flip = recipe.data.flip;
  try {
    return std::make_unique<Loader>(context, set, options);
  } catch (Error& e) {
    throw e.inside(recipe.data.lines.at("drop_last"));
  }
}

}  // namespace halftone
