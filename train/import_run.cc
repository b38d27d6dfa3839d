#include "train/import_run.h"

#include <fmt/format.h>

#include <filesystem>

#include "tensor/atomic_file.h"
#include "train/checkpoint.h"
#include "train/network.h"
#include "train/run_folder.h"
#include "train/sizes.h"

namespace halftone {
namespace {

// Refused: what has a network and a recipe of its own.
void check_plain(const TensorFile& file, const std::string& path) {
  const auto format = file.metadata.find("format");
  const bool exported = format != file.metadata.end() && format->second == kExportFormat;
  if (!is_checkpoint(file) && !exported) return;
  throw HALFTONE_ERROR("import")
      .at(path)
      .expected("a file of weights with PyTorch's names")
      .found(exported ? "the export of a quantized run" : "a checkpoint of halftone")
      .fix("every command takes the run's folder as it is");
}

void check_overrides(const std::vector<std::string>& overrides) {
  for (const std::string& o : overrides) {
    const bool taken = o.rfind("model.", 0) == 0 || o.rfind("data.", 0) == 0 ||
                       o.rfind("test_batch_size=", 0) == 0 || o.rfind("threads=", 0) == 0 ||
                       o.rfind("name=", 0) == 0 || o.rfind("quantizer.", 0) == 0;
    if (!taken) {
      throw HALFTONE_ERROR("import")
          .expected(
              "--set of model.*, data.*, name, test_batch_size or threads: nothing is trained")
          .found("--set " + o);
    }
    const bool name = o.rfind("model.name=", 0) == 0;
    if (!name && o.rfind("model.weights=", 0) != 0) continue;
    throw HALFTONE_ERROR("import")
        .expected(name ? "--model to say the network" : "the file's path to say the weights")
        .found("--set " + o);
  }
}

Recipe recipe_of(const ImportRequest& request) {
  check_overrides(request.overrides);
  zoo_entry(request.model);
  std::vector<std::string> overrides = {"model.name=" + request.model};
  overrides.insert(overrides.end(), request.overrides.begin(), request.overrides.end());
  Recipe recipe = parse_recipe("", "--set", overrides);
  if (!recipe.quantizer.name.empty()) {
    throw HALFTONE_ERROR("import")
        .expected("no quantizer: the run is in float")
        .found(recipe.quantizer.name)
        .fix("halftone quantize, or halftone train with model.weights, quantizes it then");
  }
  if (recipe.name == Recipe().name)
    recipe.name = std::filesystem::path(request.path).stem().string();
  recipe.model.weights = request.path;
  return recipe;
}

Checkpoint checkpoint_of(const Network& network, Recipe recipe) {
  recipe.model.weights.clear();  // they are here
  Checkpoint c;
  c.model = network.model.module->state_dict();
  c.recipe = to_yaml(recipe);
  c.steps_per_epoch = 1;
  c.threads = network.model.module->context().threads();
  c.finished = true;
  return c;
}

}  // namespace

ImportReport import_run(const ImportRequest& request) {
  const Recipe recipe = recipe_of(request);
  const Context context({{}, recipe.threads, 0});
  check_plain(load_safetensors(context, request.path), request.path);
  const Network network = build_network(context, recipe, 1, NetworkUse::kEvaluation);
  const Checkpoint c = checkpoint_of(network, recipe);
  ImportReport r;
  r.path = request.path;
  r.model = network.model.name;
  r.tensors = static_cast<int64_t>(c.model.size());
  r.parameters = measure_sizes(*network.model.module, nullptr).parameters;
  r.out = new_run_folder("import", request.out, "runs/" + recipe.name + "-imported");
  write_run_folder("import", r.out, [&](const std::string& folder) {
    save_checkpoint(folder + "/checkpoint.safetensors", c);
    save_safetensors(folder + "/model.safetensors", {c.model, {{"format", "pt"}}});
    write_file_atomically(folder + "/recipe.yaml", c.recipe);
  });
  return r;
}

nlohmann::ordered_json to_json(const ImportReport& r) {
  return {{"path", r.path},
          {"model", r.model},
          {"tensors", r.tensors},
          {"parameters", r.parameters},
          {"out", r.out}};
}

std::string to_table(const ImportReport& r) {
  return fmt::format("{:<12} {}\n{:<12} {}, {} parameters in {} tensors\n{:<12} {}\n", "weights",
                     r.path, "network", r.model, r.parameters, r.tensors, "run folder", r.out);
}

}  // namespace halftone
