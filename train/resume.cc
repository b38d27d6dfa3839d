#include "train/resume.h"

#include <filesystem>
#include <sstream>

namespace halftone {
namespace {

namespace fs = std::filesystem;

std::string fresh_folder(const std::string& name) {
  for (int i = 1;; ++i) {
    const std::string path = "runs/" + name + "-" + std::to_string(i);
    if (!fs::exists(path)) return path;
  }
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// What may change between the parts of a run without changing what its steps compute.
Recipe without_free_keys(Recipe r) {
  const Recipe defaults;
  r.epochs = defaults.epochs;
  r.threads = defaults.threads;
  r.checkpoint_minutes = defaults.checkpoint_minutes;
  r.data.dir = defaults.data.dir;
  r.data.workers = defaults.data.workers;
  return r;
}

void check_same(const Recipe& saved, const Recipe& given, const std::string& folder) {
  const auto was = lines_of(to_yaml(without_free_keys(saved))),
             is = lines_of(to_yaml(without_free_keys(given)));
  for (size_t i = 0; i < std::max(was.size(), is.size()); ++i) {
    const std::string a = i < was.size() ? was[i] : "nothing",
                      b = i < is.size() ? is[i] : "nothing";
    if (a == b) continue;
    throw HALFTONE_ERROR("resume")
        .at(folder)
        .expected("the recipe of the run: '" + a + "'")
        .found("'" + b + "'")
        .fix(
            "only epochs, threads, checkpoint_minutes, data.dir and data.workers may change; start "
            "a new run for the rest");
  }
}

Recipe resumed_recipe(const std::string& file, const std::vector<std::string>& overrides,
                      const std::string& folder) {
  const std::string path = folder + "/checkpoint.safetensors";
  const Recipe saved = parse_recipe(load_checkpoint(Context(), path).recipe, path);
  const Recipe given =
      file.empty() ? parse_recipe(to_yaml(saved), path, overrides) : load_recipe(file, overrides);
  check_same(saved, given, folder);
  return given;
}

}  // namespace

Recipe prepare_run(const std::string& recipe_file, const std::vector<std::string>& overrides,
                   const std::string& out, const std::string& resume, TrainOptions& options) {
  if (!resume.empty()) {
    if (!out.empty() && fs::weakly_canonical(out) != fs::weakly_canonical(resume)) {
      throw HALFTONE_ERROR("train")
          .expected("--resume alone: a run goes on in its own folder")
          .found("--out " + out);
    }
    options.resume = true;
    options.out = resume;
    return resumed_recipe(recipe_file, overrides, resume);
  }
  if (recipe_file.empty()) {
    throw HALFTONE_ERROR("train")
        .expected("a recipe, or --resume DIR")
        .found("neither")
        .fix("halftone train examples/recipes/lenet5_qat8.yaml");
  }
  const Recipe recipe = load_recipe(recipe_file, overrides);
  options.out = out.empty() ? fresh_folder(recipe.name) : out;
  if (fs::exists(options.out + "/checkpoint.safetensors")) {
    throw HALFTONE_ERROR("train")
        .at(options.out)
        .expected("a new or empty run folder")
        .found("a run")
        .fix("--resume " + options.out + " to go on with it, or another --out");
  }
  return recipe;
}

}  // namespace halftone
