#include "train/resume.h"

#include <filesystem>
#include <map>

#include "tensor/atomic_file.h"
#include "train/network.h"
#include "train/run_folder.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

// What may change between the parts of a run without changing what its steps compute.
Recipe without_free_keys(Recipe r) {
  const Recipe defaults;
  // A cosine ends with the last epoch: another number of epochs is another rate at every step.
  // Statistics that were taken anew at the end are not those that more steps would start from.
  if (r.schedule.name != "cosine" && r.quantizer.reestimate_batches == 0)
    r.epochs = defaults.epochs;
  r.threads = defaults.threads;
  r.checkpoint_minutes = defaults.checkpoint_minutes;
  r.data.dir = defaults.data.dir;
  r.data.workers = defaults.data.workers;
  return r;
}

void check_same(const Recipe& saved, const Recipe& given, const std::string& folder) {
  const auto was = dotted_keys(without_free_keys(saved));
  const auto is = dotted_keys(without_free_keys(given));
  auto all = was;
  all.insert(is.begin(), is.end());
  const auto value_in = [](const auto& keys, const std::string& key) {
    return keys.count(key) ? keys.at(key) : "nothing";
  };
  for (const auto& [key, unused] : all) {
    const std::string before = value_in(was, key), now = value_in(is, key);
    if (before == now) continue;
    throw HALFTONE_ERROR("resume")
        .at(folder)
        .expected(key + " " + before + ", as in the run")
        .found(now)
        .fix(
            "only epochs (but for a cosine schedule or reestimate_batches), threads, "
            "checkpoint_minutes, data.dir and "
            "data.workers may change; start a new run for the rest");
  }
}

Recipe resumed_recipe(const std::string& file, const std::vector<std::string>& overrides,
                      const std::string& folder) {
  if (!fs::is_directory(folder)) {
    throw HALFTONE_ERROR("resume")
        .at(folder)
        .expected("the folder of a run, with its checkpoint.safetensors")
        .found(fs::exists(folder) ? "a file" : "nothing there")
        .fix("name the folder that halftone train wrote to (--out)");
  }
  const std::string path = state_file(folder);
  const Recipe saved = parse_recipe(load_checkpoint_recipe(path), recipe_beside(path));
  const Recipe given = file.empty() ? parse_recipe(to_yaml(saved), recipe_beside(path), overrides)
                                    : load_recipe(file, overrides);
  check_same(saved, given, folder);
  return given;
}

// A run that ended before its first checkpoint may be begun anew in its folder.
bool is_of_a_beginning(const std::string& name) {
  return name == "recipe.yaml" || name == "metrics.jsonl" || name.rfind("events.out.", 0) == 0 ||
         is_temporary_name(name);
}

void check_free(const std::string& folder) {
  if (fs::exists(folder + "/checkpoint.safetensors")) {
    throw HALFTONE_ERROR("train")
        .at(folder)
        .expected("a new or empty run folder")
        .found("a run")
        .fix("--resume " + folder + " to go on with it, or another --out");
  }
  if (!fs::is_directory(folder)) return;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (is_of_a_beginning(name)) continue;
    throw HALFTONE_ERROR("train")
        .at(folder)
        .expected("a new or empty run folder")
        .found(name + ", which is no part of a run")
        .fix("another --out");
  }
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
        .fix("halftone train examples/recipes/quickstart.yaml");
  }
  const Recipe recipe = load_recipe(recipe_file, overrides);
  options.out = out.empty() ? claim_run_folder("train", "runs/" + recipe.name) : out;
  check_free(options.out);
  return recipe;
}

}  // namespace halftone
