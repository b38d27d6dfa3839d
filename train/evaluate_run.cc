#include "train/evaluate_run.h"

#include <fmt/format.h>

#include <chrono>

#include "train/checkpoint.h"
#include "train/data_source.h"
#include "train/run_folder.h"

namespace halftone {
namespace {

Error no_run(const EvaluateRequest& request, const std::string& file) {
  if (request.op != "eval") {
    return HALFTONE_ERROR(request.op)
        .at(file)
        .expected("a run: its folder, or its checkpoint")
        .found("a file of weights, which does not say its model")
        .fix("halftone import makes a run of one");
  }
  return HALFTONE_ERROR("eval")
      .at(file)
      .expected("--recipe RECIPE.yaml: a file of weights does not say its model")
      .found("none")
      .fix("examples/recipes holds some");
}

Recipe recipe_for(const EvaluateRequest& request, const std::string& file,
                  const std::string& saved) {
  Recipe recipe;
  if (!saved.empty()) {
    if (!request.recipe.empty()) {
      throw HALFTONE_ERROR(request.op)
          .at(file)
          .expected("no --recipe: a run has its own")
          .found(request.recipe);
    }
    check_run_overrides(request.op, request.overrides);
    recipe = parse_recipe(saved, recipe_beside(file), request.overrides);
  } else if (!request.recipe.empty()) {
    recipe = load_recipe(request.recipe, request.overrides);
  } else {
    throw no_run(request, file);
  }
  recipe.model.weights.clear();
  use_folder(request.op, request.data, recipe.data);
  return recipe;
}

// Everything that the file holds: what the network lacks, or has beyond it, is an error.
void load_all(const Network& network, const TensorFile& tensors, const Checkpoint& run,
              const std::string& file) {
  const auto format = tensors.metadata.find("format");
  const bool exported = format != tensors.metadata.end() && format->second == kExportFormat;
  if (exported && network.quantizer == nullptr) {
    throw HALFTONE_ERROR("eval")
        .at(file)
        .expected("a recipe with the quantizer that wrote the file, " +
                  tensors.metadata.at("quantizer"))
        .found("one without a quantizer")
        .fix("give the recipe of the run (recipe.yaml in its folder)");
  }
  if (exported) return network.quantizer->load_model(file);
  try {
    network.model.module->load_state_dict(is_checkpoint(tensors) ? run.model : tensors.tensors);
  } catch (Error& e) {
    throw e.inside(file);
  }
}

}  // namespace

void check_run_overrides(const std::string& op, const std::vector<std::string>& overrides) {
  for (const std::string& o : overrides) {
    if (o.rfind("data.", 0) == 0 || o.rfind("test_batch_size=", 0) == 0 ||
        o.rfind("threads=", 0) == 0) {
      continue;
    }
    throw HALFTONE_ERROR(op)
        .expected("--set of data.*, test_batch_size or threads: the rest is the run's")
        .found("--set " + o);
  }
}

LoadedRun load_run(const EvaluateRequest& request) {
  const std::string file = state_file(request.path);
  const TensorFile tensors = load_safetensors(Context(), file);
  Checkpoint run;
  if (is_checkpoint(tensors)) run = to_checkpoint(tensors, file);
  LoadedRun l;
  l.step = run.recipe.empty() ? -1 : run.step;
  l.recipe = recipe_for(request, file, run.recipe);
  const Context context = context_of(request.device, l.recipe, 0);
  l.data =
      load_split(context.host(), l.recipe.data, request.train_split ? Split::kTrain : Split::kTest);
  l.network = build_network(context, l.recipe, run.steps_per_epoch, NetworkUse::kEvaluation);
  check_fits(l.network, *l.data, l.recipe);
  load_all(l.network, tensors, run, file);
  return l;
}

EvaluateReport evaluate_run(const EvaluateRequest& request) {
  LoadedRun l = load_run(request);
  const auto start = std::chrono::steady_clock::now();
  EvaluateReport r;
  r.result = evaluate(*l.network.model.module, l.data, l.recipe.test_batch_size,
                      build_loss(l.recipe.loss));
  r.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  r.path = request.path;
  r.dataset = l.data->name;
  r.split = name_of(l.data->split);
  r.model = l.network.model.name;
  r.quantizer = l.recipe.quantizer.name;
  r.step = l.step;
  if (l.network.quantizer) r.float_layers = l.network.quantizer->float_layers();
  return r;
}

nlohmann::ordered_json to_json(const EvaluateReport& r) {
  nlohmann::ordered_json j = {{"path", r.path},
                              {"dataset", r.dataset},
                              {"split", r.split},
                              {"model", r.model},
                              {"accuracy", r.result.accuracy},
                              {"loss", r.result.loss},
                              {"images", r.result.images},
                              {"seconds", r.seconds}};
  j["quantizer"] =
      r.quantizer.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(r.quantizer);
  if (r.step >= 0) j["step"] = r.step;
  if (!r.quantizer.empty()) j["float_layers"] = r.float_layers;
  return j;
}

std::string to_table(const EvaluateReport& r) {
  std::string notes;
  for (const auto& [layer, why] : r.float_layers) {
    notes += fmt::format("{:<12} {}: float path, not deployable as integers: {}\n", "", layer, why);
  }
  return fmt::format(
             "{:<12} {}\n{:<12} {} ({} images, {})\n{:<12} {}{}\n{:<12} {:.2f} %\n{:<12} "
             "{:.4f}\n{:<12} "
             "{:.2f} s\n",
             "path", r.path, "data", r.dataset, r.result.images, r.split, "network", r.model,
             r.quantizer.empty() ? "" : ", " + r.quantizer, "accuracy", 100 * r.result.accuracy,
             "loss", r.result.loss, "time", r.seconds) +
         notes;
}

}  // namespace halftone
