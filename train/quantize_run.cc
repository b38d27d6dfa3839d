#include "train/quantize_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "tensor/atomic_file.h"
#include "tensor/nearest.h"
#include "train/calibrate.h"
#include "train/checkpoint.h"
#include "train/data_source.h"
#include "train/evaluate.h"
#include "train/evaluate_run.h"
#include "train/network.h"
#include "train/out_of_memory.h"
#include "train/progress.h"
#include "train/run_folder.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

// Latent weights of BNN and DoReFa are no weights of a float network.
void check_approximates_float(Recipe recipe, int64_t steps_per_epoch, const std::string& file) {
  if (recipe.quantizer.name.empty()) return;
  recipe.model.weights.clear();
  const Network network =
      build_network(Context(), recipe, steps_per_epoch, NetworkUse::kEvaluation);
  if (network.quantizer->approximates_float()) return;
  throw HALFTONE_ERROR("quantize")
      .at(file)
      .expected("a network that computes nearly the same in float")
      .found("latent weights of " + recipe.quantizer.name)
      .fix("halftone train with model.weights goes on from them");
}

Recipe recipe_of_run(const QuantizeRequest& q, const TensorFile& tensors, const std::string& file) {
  if (!q.model.empty()) {
    throw HALFTONE_ERROR("quantize")
        .at(file)
        .expected("no --model: a run has its own")
        .found(q.model);
  }
  const Checkpoint run = to_checkpoint(tensors, file);
  const Recipe recipe = parse_recipe(run.recipe, recipe_beside(file), q.overrides);
  check_approximates_float(recipe, run.steps_per_epoch, file);
  return recipe;
}

// What the command line says of a plain file of weights.
Recipe recipe_of_file(const QuantizeRequest& q, const std::string& file) {
  if (q.model.empty() || q.calibrate.empty()) {
    throw HALFTONE_ERROR("quantize")
        .at(file)
        .expected(
            "--model NAME and --calibrate DATA: a file of weights says neither network nor data")
        .found(q.model.empty() ? "no --model" : "no --calibrate")
        .fix("halftone list models, halftone list datasets");
  }
  for (const std::string& o : q.overrides) {
    if (o.rfind("data.name=", 0) != 0 && o.rfind("data.dir=", 0) != 0) continue;
    throw HALFTONE_ERROR("quantize")
        .expected("--calibrate DATA, and --data DIR, to say the data set")
        .found("--set " + o);
  }
  const bool folder = fs::is_directory(q.calibrate);
  zoo_entry(q.model);
  const std::vector<std::string> sets = dataset_names();
  if (!folder && std::find(sets.begin(), sets.end(), q.calibrate) == sets.end())
    throw_unknown_name("--calibrate", q.calibrate, sets);
  std::vector<std::string> values = {"model.name=" + q.model,
                                     "data.name=" + (folder ? "image-folder" : q.calibrate)};
  values.insert(values.end(), q.overrides.begin(), q.overrides.end());
  Recipe recipe = parse_recipe("", "--set", values);
  recipe.name = fs::path(file).stem().string();
  recipe.model.lines.keys["name"] = "--model";
  recipe.data.lines.keys = {{"name", "--calibrate"}, {"dir", "--calibrate"}};
  if (folder) recipe.data.dir = q.calibrate;
  return recipe;
}

// The network and the data of a run or of a file.
Recipe source_recipe(const QuantizeRequest& q) {
  const std::string file = state_file(q.path);
  const TensorFile tensors = load_safetensors(Context(), file);
  check_run_overrides("quantize", q.overrides);
  Recipe recipe =
      is_checkpoint(tensors) ? recipe_of_run(q, tensors, file) : recipe_of_file(q, file);
  use_folder("quantize", q.data, recipe.data);
  recipe.model.weights = file;
  recipe.quantizer = load_quantizer_recipe(q.config);
  return recipe;
}

void check_takes_folder(const DataRecipe& own, const std::string& folder) {
  if (dataset_takes(own.name, "data_dir")) return;
  throw HALFTONE_ERROR("halftone quantize")
      .at("--calibrate")
      .expected("a data set's name, as the run's own, " + own.name + ", has no files")
      .found("the folder " + folder)
      .fix("say the set that lies there: --calibrate mnist --data " + folder);
}

// Which set of which folder calibrates.
DataRecipe calibration_data(const QuantizeRequest& request, const DataRecipe& own) {
  DataRecipe data = own;
  if (request.calibrate.empty() || request.calibrate == own.name) return data;
  if (fs::is_directory(request.calibrate)) {
    check_takes_folder(own, request.calibrate);
    data.dir = request.calibrate;
    data.lines.keys["dir"] = "--calibrate";
  } else {
    data = DataRecipe();
    data.name = request.calibrate;
    data.lines.keys = {{"name", "--calibrate"}, {"dir", "--data"}};
    data.dir = request.data;
  }
  return data;
}

double accuracy_of(Network& network, const Recipe& recipe,
                   const std::shared_ptr<const Dataset>& set, const char* what,
                   Progress& progress) {
  return evaluate(*network.model.module, set, recipe.test_batch_size, build_loss(recipe.loss),
                  [&](int64_t done, int64_t total) { progress.count(what, done, total); })
      .accuracy;
}

// The command line's, or the configuration's.
int images_of(const QuantizeRequest& request, const QuantizerRecipe& config) {
  if (request.images > 0) return request.images;
  return config.calibration_images > 0 ? config.calibration_images : kCalibrationImages;
}

void check_images(const QuantizeRequest& request, const Quantizer& quantizer) {
  if (request.images == 0 || quantizer.needs_calibration()) return;
  throw HALFTONE_ERROR("quantize")
      .at("--images")
      .expected("no --images: " + quantizer.name() + " takes no images to calibrate")
      .found(std::to_string(request.images))
      .fix("take it out; ObserverQuantizer takes them");
}

Network quantized_network(const Context& context, const Recipe& recipe) {
  if (recipe.quantizer.reestimate_batches > 0) {
    throw HALFTONE_ERROR("quantize")
        .at(recipe.quantizer.lines.at("reestimate_batches"))
        .expected("no reestimate_batches: batch norm keeps the statistics of the training")
        .found(std::to_string(recipe.quantizer.reestimate_batches))
        .fix("take it out, or put the quantizer into a recipe for halftone train");
  }
  Network network = build_network(context, recipe, 1, NetworkUse::kEvaluation);
  for (const QuantPoint& p : network.quantizer->points()) {
    if (!p.quantizer->warm_up()) continue;
    throw HALFTONE_ERROR("quantize")
        .at(recipe.quantizer.lines.at("float_epochs"))
        .expected("no float_epochs and no quant_start_step: nothing is trained here")
        .found("a quantizer of " + p.module + " that waits for step " +
               std::to_string(p.quantizer->spec().start_step))
        .fix("take them out of the configuration");
  }
  if (!network.quantizer->needs_training()) return network;
  throw HALFTONE_ERROR("quantize")
      .at(recipe.quantizer.lines.at("name"))
      .expected("a quantizer that needs no training: ObserverQuantizer or NaiveQuantizer")
      .found(recipe.quantizer.name)
      .fix("halftone train RECIPE --set model.weights=RUN trains with it");
}

void write_folder(const std::string& out, const Recipe& recipe, const Network& network,
                  const QuantizeReport& report) {
  Checkpoint c;
  c.model = network.model.module->state_dict();
  c.recipe = to_yaml(recipe);
  c.steps_per_epoch = 1;
  c.threads = network.model.module->context().threads();
  c.finished = true;
  write_run_folder("quantize", out, [&](const std::string& folder) {
    save_checkpoint(folder + "/checkpoint.safetensors", c);
    network.quantizer->export_model(folder + "/model_quantized.safetensors",
                                    folder + "/calibration.json");
    write_file_atomically(folder + "/recipe.yaml", c.recipe);
    write_file_atomically(folder + "/report.json", to_json(report).dump(2) + "\n");
  });
}

}  // namespace

QuantizeReport quantize_run(const QuantizeRequest& request) {
  const auto start = std::chrono::steady_clock::now();
  Recipe recipe = source_recipe(request);
  QuantizeReport r;
  r.out = new_run_folder("quantize", request.out, "runs/" + recipe.name + "-quantized");
  Progress progress(!request.quiet);
  const Context context = context_of(request.device, recipe, 0);
  const auto test = load_split(context.host(), recipe.data, Split::kTest);
  const auto train =
      load_split(context.host(), calibration_data(request, recipe.data), Split::kTrain);
  Recipe in_float = recipe;
  in_float.quantizer = {};
  Network plain = build_network(context, in_float, 1, NetworkUse::kEvaluation);
  check_fits(plain, *test, recipe);
  check_fits(plain, *train, recipe);
  Network network = quantized_network(context, recipe);
  check_images(request, *network.quantizer);
  const bool calibrates = network.quantizer->needs_calibration();
  const int images = calibrates
                         ? images_of(request, recipe.quantizer)
                         : std::min(kCalibrationImages, static_cast<int>(train->labels.size()));
  const auto of_images = [&](const auto& work) {  // 1: nothing to try
    return with_memory_advice("--images ", calibrates ? calibration_batch(images) : 1, work);
  };
  const std::vector<Tensor> batches = of_images([&] {
    return calibration_batches(context, train, images, recipe.seed, "quantize --images");
  });
  for (const std::string& w : network.quantizer->warnings()) progress.warn(w);
  r.float_accuracy = accuracy_of(plain, recipe, test, "float accuracy", progress);
  if (network.quantizer->needs_calibration()) {
    of_images([&] {
      calibrate(*network.model.module, batches, [&progress](int64_t done, int64_t total) {
        progress.count("calibration", done, total);
      });
    });
  }
  network.quantizer->compress();
  r.quantized_accuracy = accuracy_of(network, recipe, test, "quantized accuracy", progress);
  progress.finish();
  r.path = request.path;
  r.model = plain.model.name;
  r.dataset = test->name;
  r.calibrated_on = train->name;
  r.quantizer = recipe.quantizer.name;
  r.images = network.quantizer->needs_calibration() ? images : 0;
  r.sizes = measure_sizes(*network.model.module, network.quantizer.get());
  r.float_layers = network.quantizer->float_layers();
  r.quantizers = of_images([&] { return describe_quantizers(*network.model.module, batches); });
  r.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  write_folder(r.out, recipe, network, r);
  return r;
}

nlohmann::ordered_json to_json(const QuantizeReport& r) {
  return {{"path", r.path},
          {"model", r.model},
          {"dataset", r.dataset},
          {"quantizer", r.quantizer},
          {"calibrated_on", r.calibrated_on},
          {"images", r.images},
          {"float_accuracy", r.float_accuracy},
          {"quantized_accuracy", r.quantized_accuracy},
          {"parameters", r.sizes.parameters},
          {"fp32_bytes", r.sizes.fp32_bytes},
          {"quantized_bytes", r.sizes.quantized_bytes},
          {"float_layers", r.float_layers},
          {"quantizers", r.quantizers},
          {"seconds", r.seconds},
          {"out", r.out}};
}

std::string to_table(const QuantizeReport& r) {
  std::string t = quantizer_table(r.quantizers);
  t += fmt::format("\n{:<14} {:>12} {:>12}\n{:-<40}\n", r.model, "float", "quantized", "");
  t += fmt::format("{:<14} {:>10.2f} % {:>10.2f} %\n", "accuracy", 100 * r.float_accuracy,
                   100 * r.quantized_accuracy);
  const auto kilobytes = [](int64_t bytes) { return static_cast<double>(bytes) / 1000; };
  t += fmt::format("{:<14} {:>9.1f} kB {:>9.1f} kB\n{:-<40}\n", "size",
                   kilobytes(r.sizes.fp32_bytes), kilobytes(r.sizes.quantized_bytes), "");
  const std::string calibration =
      r.images == 0 ? "" : fmt::format(", {} training images of {}", r.images, r.calibrated_on);
  t += fmt::format("{:<14} {}{}, {:.1f} s\n", "quantizer", r.quantizer, calibration, r.seconds);
  for (const auto& [layer, why] : r.float_layers) {
    t += fmt::format("{:<14} {}: float path, not deployable as integers: {}\n", "", layer, why);
  }
  return t + fmt::format("{:<14} {}, test images\n{:<14} {}\n", "accuracy on", r.dataset,
                         "run folder", r.out);
}

}  // namespace halftone
