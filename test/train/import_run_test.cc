// Weights of PyTorch become runs whose logits are PyTorch's.
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>

#include "test/tensor/temp_folder.h"
#include "train/checkpoint.h"
#include "train/evaluate_run.h"
#include "train/import_run.h"
#include "train/network.h"

using namespace halftone;

namespace {

namespace fs = std::filesystem;

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// The k-th tensor of make_import_numbers.py.
Tensor filled(const Context& c, const std::string& name, const Tensor& like, int64_t k) {
  const int64_t count = like.numel();
  if (ends_with(name, "num_batches_tracked"))
    return Tensor::from<int64_t>(c, like.shape(), std::vector<int64_t>(1, 7));
  std::vector<float> values;
  const double bound = like.shape().rank() >= 2
                           ? std::sqrt(6.0 / static_cast<double>(count / like.shape()[0]))
                           : 0.0;
  for (int64_t i = 0; i < count; ++i) {
    const double v = static_cast<double>((i * 7919 + k * 104729) % 2003) / 1001.5 - 1.0;
    const double scale = bound > 0 ? bound : ends_with(name, "weight") ? 1.0 : 0.1;
    values.push_back(
        static_cast<float>(ends_with(name, "running_var") ? 1.0 + 0.5 * v : v * scale));
  }
  return Tensor::from(c, like.shape(), values);
}

std::map<std::string, Tensor> pytorch_weights(const std::string& model) {
  const Context c;
  std::map<std::string, Tensor> state = make_model(model, c).module->state_dict();
  int64_t k = 0;
  for (auto& [name, tensor] : state) tensor = filled(c, name, tensor, k++);
  return state;
}

// (2, C, H, W) by the formula, as (2, H, W, C).
Tensor images(const Context& c, const Shape& s) {
  Tensor x = Tensor::empty(c, {2, s[1], s[2], s[0]});
  for (int64_t i = 0; i < x.numel(); ++i) {
    const int64_t n = i / s.numel(), channel = i / (s[1] * s[2]) % s[0], pixel = i % (s[1] * s[2]);
    x.data<float>()[(n * s[1] * s[2] + pixel) * s[0] + channel] =
        static_cast<float>((i * 31 + 7) % 251) / 250.0f;
  }
  return x;
}

ImportRequest request(const std::string& path, const std::string& model, const std::string& out) {
  ImportRequest r;
  r.path = path, r.model = model, r.out = out;
  return r;
}

}  // namespace

TEST_CASE("logits are PyTorch's") {
  constexpr double kTolerance = 1e-5;  // float32 against float64, of the largest logit
  const test::TempFolder folder;
  const TensorFile pytorch = load_safetensors(Context(), "test/train/import_numbers.safetensors");
  for (const std::string model : {"lenet5", "resnet20"}) {
    CAPTURE(model);
    const std::string file = folder.path() + "/" + model + ".safetensors";
    const std::string run = folder.path() + "/" + model;
    save_safetensors(file, {pytorch_weights(model), {{"format", "pt"}}});
    const ImportReport r = import_run(request(file, model, run));
    REQUIRE(r.out == run);
    const Checkpoint c = load_checkpoint(Context(), run + "/checkpoint.safetensors");
    REQUIRE(c.finished);
    const Context context;
    Recipe recipe = parse_recipe(c.recipe, "recipe.yaml");
    REQUIRE(recipe.model.name == model);
    REQUIRE(recipe.model.weights.empty());
    recipe.model.weights = run;
    Network network = build_network(context, recipe, 1, NetworkUse::kEvaluation);
    const EvaluationMode mode(*network.model.module);
    const NoGrad no_grad;
    const Variable y =
        network.model.module->operator()(Variable(images(context, network.model.input_shape)));
    const std::vector<float> found = y.value().to_vector<float>();
    const std::vector<float> wanted = pytorch.tensors.at(model).to_vector<float>();
    float most = 0;
    for (const float w : wanted) most = std::max(most, std::fabs(w));
    for (size_t i = 0; i < wanted.size(); ++i) {
      CAPTURE(i, found[i], wanted[i]);
      REQUIRE(std::fabs(found[i] - wanted[i]) <= kTolerance * most);
    }
  }
}

TEST_CASE("an imported run is one that eval measures") {
  const test::TempFolder folder;
  const std::string file = folder.path() + "/w.safetensors";
  save_safetensors(file, {pytorch_weights("lenet5"), {}});
  ImportRequest r = request(file, "lenet5", folder.path() + "/run");
  r.overrides = {"data.name=generated-digits", "data.test_samples=20", "threads=1"};
  const ImportReport report = import_run(r);
  REQUIRE(report.tensors == 30);
  REQUIRE(to_json(report)["parameters"] == report.parameters);
  EvaluateRequest eval;
  eval.path = report.out;
  REQUIRE(evaluate_run(eval).result.images == 20);
}

TEST_CASE("what is not the network's is refused, and leaves nothing") {
  const test::TempFolder folder;
  const std::string file = folder.path() + "/w.safetensors", out = folder.path() + "/run";
  const auto refused = [&](const ImportRequest& r, const std::string& why) {
    REQUIRE_THROWS_WITH(import_run(r), Catch::Contains(why));
    REQUIRE(fs::exists(folder.path() + "/run") == false);
    REQUIRE(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);
  };
  auto weights = pytorch_weights("lenet5");
  weights["module.conv1.weight"] = weights["conv1.weight"];
  weights.erase("conv1.weight");
  save_safetensors(file, {weights, {}});
  refused(request(file, "lenet5", out), "module.conv1.weight");
  refused(request(file, "resnet20", out), "these weights are not this model's");
  refused(request(file, "lenet", out), "lenet5");
  ImportRequest quantized = request(file, "lenet5", out);
  quantized.overrides = {
      "quantizer.name=QAT_Quantizer",
      "quantizer.config_list=[{quant_types: [weight], quant_bits: 8, op_types: [Conv2d]}]"};
  refused(quantized, "no quantizer");
}

TEST_CASE("a run of halftone, and a folder that is there already, are refused") {
  const test::TempFolder folder;
  const std::string file = folder.path() + "/w.safetensors", run = folder.path() + "/run";
  save_safetensors(file, {pytorch_weights("lenet5"), {}});
  import_run(request(file, "lenet5", run));
  REQUIRE_THROWS_WITH(import_run(request(file, "lenet5", run)),
                      Catch::Contains("a new or empty folder"));
  REQUIRE_THROWS_WITH(
      import_run(request(run + "/checkpoint.safetensors", "lenet5", folder.path() + "/again")),
      Catch::Contains("a checkpoint of halftone"));
}
