#include "train/data_source.h"

#include <cstdlib>
#include <filesystem>

namespace halftone {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string cache_folder() {
  const std::string xdg = variable("XDG_CACHE_HOME");
  return (xdg.empty() ? variable("HOME") + "/.cache" : xdg) + "/halftone";
}

}  // namespace

std::string find_data_dir(const std::string& name, const std::string& dir) {
  if (!dir.empty() || is_generated(name)) return dir;
  const std::string data = variable("HALFTONE_DATA");
  for (const std::string& base : {data, cache_folder()}) {
    if (!base.empty() && std::filesystem::is_directory(base + "/" + name)) return base + "/" + name;
  }
  return "";
}

std::shared_ptr<const Dataset> load_split(const Context& context, const DataRecipe& recipe,
                                          Split split) {
  DatasetOptions options;
  options.data_dir = find_data_dir(recipe.name, recipe.dir);
  options.limit = split == Split::kTrain ? recipe.train_samples : recipe.test_samples;
  return std::make_shared<const Dataset>(load_dataset(context, recipe.name, split, options));
}

DataPair load_data(const Context& context, const DataRecipe& recipe) {
  return {load_split(context, recipe, Split::kTrain), load_split(context, recipe, Split::kTest)};
}

}  // namespace halftone
