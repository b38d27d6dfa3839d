#include "train/data_source.h"

namespace halftone {
namespace {

// More than a set has would be less than was asked for.
void check_count(const Dataset& set, int wanted, const DataRecipe& recipe, const char* key) {
  if (wanted <= set.size()) return;
  throw HALFTONE_ERROR(std::string("data.") + key)
      .at(recipe.lines.at(key))
      .expected("at most the " + std::to_string(set.size()) + " images of " + recipe.name +
                ", or 0 for all")
      .found(std::to_string(wanted));
}

}  // namespace

std::shared_ptr<const Dataset> load_split(const Context& context, const DataRecipe& recipe,
                                          Split split) {
  DatasetOptions options;
  options.data_dir = recipe.dir;
  options.coarse_labels = recipe.coarse_labels;
  options.resize = recipe.resize;
  options.crop = recipe.crop;
  options.limit = split == Split::kTrain ? recipe.train_samples : recipe.test_samples;
  std::shared_ptr<const Dataset> set;
  try {
    set = std::make_shared<const Dataset>(load_dataset(context, recipe.name, split, options));
  } catch (Error& e) {
    throw e.inside(recipe.lines.at(recipe.dir.empty() ? "name" : "dir"));
  }
  check_count(*set, static_cast<int>(options.limit), recipe,
              split == Split::kTrain ? "train_samples" : "test_samples");
  return set;
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
