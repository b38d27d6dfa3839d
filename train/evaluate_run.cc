#include "train/evaluate_run.h"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>

#include "train/checkpoint.h"
#include "train/data_source.h"
#include "train/network.h"

namespace halftone {
namespace {

struct Loaded {
  Recipe recipe;
  Network network;
  std::shared_ptr<const Dataset> data;
  int64_t step = -1;
};

std::string file_of(const std::string& path) {
  return std::filesystem::is_directory(path) ? path + "/checkpoint.safetensors" : path;
}

Recipe recipe_for(const EvaluateRequest& request, const std::string& file,
                  const std::string& saved) {
  Recipe recipe;
  if (!request.recipe.empty()) {
    recipe = load_recipe(request.recipe, request.overrides);
  } else if (!saved.empty()) {
    recipe = parse_recipe(saved, file, request.overrides);
  } else {
    throw HALFTONE_ERROR("eval")
        .at(file)
        .expected("--recipe RECIPE.yaml: a file of weights does not say its model")
        .found("none")
        .fix("examples/recipes holds some");
  }
  if (!request.data.empty()) recipe.data.dir = request.data;
  return recipe;
}

Loaded load(const Context& context, const EvaluateRequest& request) {
  const std::string file = file_of(request.path);
  const TensorFile tensors = load_safetensors(context, file);
  Loaded l;
  std::map<std::string, Tensor> state = tensors.tensors;
  std::string saved;
  int64_t steps_per_epoch = 0;
  if (is_checkpoint(tensors)) {
    Checkpoint checkpoint = load_checkpoint(context, file);
    state = std::move(checkpoint.model);
    saved = checkpoint.recipe;
    l.step = checkpoint.step;
    steps_per_epoch = checkpoint.steps_per_epoch;
  }
  l.recipe = recipe_for(request, file, saved);
  l.recipe.model.weights.clear();
  l.data = load_split(context, l.recipe.data, request.train_split ? Split::kTrain : Split::kTest);
  l.network = build_network(context, l.recipe, steps_per_epoch);
  check_fits(l.network, *l.data);
  l.network.model->load_state_dict(state);
  return l;
}

}  // namespace

EvaluateReport evaluate_run(const EvaluateRequest& request) {
  const Context context;
  Loaded l = load(context, request);
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
  return j;
}

std::string to_table(const EvaluateReport& r) {
  return fmt::format(
      "{:<12} {}\n{:<12} {} ({} images, {})\n{:<12} {}{}\n{:<12} {:.2f} %\n{:<12} {:.4f}\n{:<12} "
      "{:.2f} s\n",
      "path", r.path, "data", r.dataset, r.result.images, r.split, "network", r.model,
      r.quantizer.empty() ? "" : ", " + r.quantizer, "accuracy", 100 * r.result.accuracy, "loss",
      r.result.loss, "time", r.seconds);
}

}  // namespace halftone
