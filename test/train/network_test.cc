#include "train/network.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "test/data/files.h"
#include "train/data_source.h"
#include "train/recipe.h"

using namespace halftone;

namespace {

Recipe recipe_of(const std::string& yaml) { return parse_recipe(yaml, "r.yaml"); }

double rate(const std::string& schedule, int64_t step) {
  const Recipe r = recipe_of("epochs: 10\nschedule: " + schedule);
  return build_schedule(r.schedule, 100, r.epochs)(1.0, step);
}

// What a shipped recipe leaves to floats.
std::vector<std::string> floats_of(const std::string& recipe) {
  static const std::map<std::string, std::vector<std::string>> kFloats = {
      {"lenet5-naive", {"conv1", "conv2", "fc1", "fc2", "fc3"}},  // no input is quantized
      {"bnn-vgg-bnn-full", {"features.0"}},                       // images arrive
      // The first layer stays float, and so the signs behind it are of reals.
      {"bnn-vgg-best", {"features.2"}},
      // NNI's: two layers in float, the first binary one behind a float activation.
      {"bnn-vgg-bnn", {"features.17", "features.3"}}};
  const auto found = kFloats.find(recipe);
  return found == kFloats.end() ? std::vector<std::string>() : found->second;
}

}  // namespace

TEST_CASE("every recipe that ships builds its network, optimizer and schedule") {
  int recipes = 0;
  for (const auto& entry : std::filesystem::directory_iterator("examples/recipes")) {
    if (entry.path().extension() != ".yaml") continue;
    INFO(entry.path());
    const Recipe r = load_recipe(entry.path().string());
    const Context context;
    Network network = build_network(context, r, 100, NetworkUse::kEvaluation);
    ParameterStore store(*network.model.module);
    CHECK(build_optimizer(r.optimizer, store)->groups().size() >= 1);
    CHECK(build_schedule(r.schedule, 100, r.epochs)(0.1, 0) > 0);
    if (network.quantizer) {
      std::vector<std::string> in_float;
      for (const auto& [name, why] : network.quantizer->float_layers()) in_float.push_back(name);
      CHECK(in_float == floats_of(r.name));
    }
    ++recipes;
  }
  CHECK(recipes >= 5);
}

TEST_CASE("schedules count epochs, or steps; the warm-up rises step by step") {
  CHECK(rate("{name: constant}", 999) == 1.0);
  CHECK(rate("{name: step, step_size: 2, gamma: 0.5}", 199) == 1.0);
  CHECK(rate("{name: step, step_size: 2, gamma: 0.5}", 200) == 0.5);
  CHECK(rate("{name: step, step_size: 2, gamma: 0.5, per: step}", 200) == 0.5);
  CHECK(rate("{name: multi_step, milestones: [3, 5], gamma: 0.1}", 500) == Approx(0.01));
  CHECK(rate("{name: exponential, gamma: 0.5, per: step}", 100) == Approx(0.5));
  CHECK(rate("{name: exponential, gamma: 0.5, per: step}", 50) == Approx(std::sqrt(0.5)));
  CHECK(rate("{name: cosine}", 99) == 1.0);
  // A rest of an epoch behind a warm-up has its own rate, above the end's.
  CHECK(rate("{name: cosine, warmup_epochs: 0.5}", 999) > 0.01);
  CHECK(rate("{name: cosine, per: step}", 500) == Approx(0.5));
  CHECK(rate("{name: cosine, per: step, warmup_epochs: 0.4, warmup_factor: 0.5}", 0) == 0.5);
  CHECK(rate("{name: cosine, warmup_epochs: 0.4, warmup_factor: 0.5}", 20) == Approx(0.75));
  CHECK(rate("{name: cosine, per: step, warmup_epochs: 0.4, warmup_factor: 0.5}", 40) == 1.0);
}

TEST_CASE("mse takes labels, and refuses those that it cannot place") {
  const Context context;
  const Loss loss = build_loss(recipe_of("loss: {name: mse}").loss);
  const Variable output(Tensor::from<float>(context, {1, 3}, {0, 1, 0}));
  CHECK(loss(output, Tensor::from<int64_t>(context, {1}, {1})).value().item<float>() == 0);
  CHECK_THROWS_WITH(loss(output, Tensor::from<int64_t>(context, {1}, {40000000})),
                    Catch::Contains("labels from 0 to 2") && Catch::Contains("40000000"));
}

TEST_CASE("a config_list that matches no layer is refused") {
  const Recipe r = recipe_of(
      "epochs: 2\nquantizer: {name: QAT_Quantizer, config_list: [{quant_types: [weight], "
      "quant_bits: 8, op_types: [Conv2D]}]}");
  CHECK_THROWS_WITH(build_network(Context(), r, 10, NetworkUse::kEvaluation),
                    Catch::Contains("r.yaml:2") && Catch::Contains("an entry that matches") &&
                        Catch::Contains("entry 1, op_types") && Catch::Contains("Conv2d"));
}

TEST_CASE("layers without an integer form are named with the reason") {
  const Recipe r = recipe_of(
      "epochs: 2\nquantizer: {name: QAT_Quantizer, config_list: [{quant_types: [weight, input], "
      "quant_bits: 16, op_types: [Conv2d], quant_dtype: uint, quant_scheme: per_tensor_affine}]}");
  const Network network = build_network(Context(), r, 10, NetworkUse::kEvaluation);
  const auto layers = network.quantizer->float_layers();
  CHECK(layers.at("conv1") == "weights of more than 8 bits");
}

TEST_CASE("a set that does not fit the model is refused") {
  const Recipe r = recipe_of("model:\n  num_classes: 10\n  name: lenet5\n");
  const Network network = build_network(Context(), r, 1, NetworkUse::kEvaluation);
  Dataset data;
  data.name = "odd";
  data.images = Tensor::empty(Context(), {1, 32, 32, 3}, DType::kUInt8);
  data.labels = {0};
  CHECK_THROWS_WITH(check_fits(network, data, r), Catch::Contains("r.yaml:3: model lenet5") &&
                                                      Catch::Contains("[1, 28, 28]") &&
                                                      Catch::Contains("[3, 32, 32]"));
  data.images = Tensor::empty(Context(), {1, 28, 28, 1}, DType::kUInt8);
  data.classes.assign(11, "x");
  CHECK_THROWS_WITH(check_fits(network, data, r), Catch::Contains("r.yaml:2: model.num_classes") &&
                                                      Catch::Contains("at least the 11 classes"));
}

TEST_CASE("keys of quantizer: that its quantizer cannot use are refused") {
  const std::string list =
      ", config_list: [{quant_types: [weight], quant_bits: 8, op_types: [Conv2d]}]}";
  const auto build = [&](const std::string& quantizer, const std::string& more = "") {
    return build_network(Context(),
                         recipe_of("epochs: 3\n" + more + "\nquantizer: {" + quantizer + list), 10,
                         NetworkUse::kTraining);
  };
  struct Row {
    std::string quantizer, part;
  };
  for (const Row& row :
       {Row{"name: QAT_Quantizer, calibration_images: 5", "ObserverQuantizer has it"},
        Row{"name: NaiveQuantizer, calibration_images: 5", "ObserverQuantizer has it"},
        Row{"name: ObserverQuantizer, float_epochs: 1", "no float_epochs"},
        Row{"name: QAT_Quantizer, scale_lr: 0.5", "a quantizer that learns its scales"},
        Row{"name: ObserverQuantizer, scale_lr: 0.5", "a quantizer that learns its scales"},
        Row{"name: BNNQuantizer, compat: nni", "quantizer.compat"},
        Row{"name: QAT_Quantizer, compat: nnni", "did you mean 'nni'"}}) {
    CAPTURE(row.quantizer);
    CHECK_THROWS_WITH(build(row.quantizer), Catch::Contains(row.part));
  }
  CHECK_THROWS_WITH(build("name: QAT_Quantizer, reestimate_batches: 2", "model: {variant: plain}"),
                    Catch::Contains("no batch norm"));
  CHECK_NOTHROW(build("name: QAT_Quantizer, reestimate_batches: 2"));
  CHECK_THROWS_WITH(
      recipe_of("epochs: 3\nquantizer: {name: QAT_Quantizer, float_epochs: 1, config_list: "
                "[{quant_types: [weight], quant_bits: 8, op_types: [Conv2d], quant_start_step: 3},"
                " {exclude: true, op_names: [conv1]}]}"),
      Catch::Contains("float_epochs") && Catch::Contains("quant_start_step of its own"));
}

TEST_CASE("what does not fit the network is refused at its line") {
  const auto message = [](const std::string& yaml) {
    try {
      build_network(Context(), recipe_of(yaml), 1, NetworkUse::kTraining);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK_THAT(message("optimizer:\n  groups:\n    - {params: '*.bias', lr: 1}\n"
                     "    - {params: nowhere}\n"),
             Catch::Contains("r.yaml:4, groups[1]: optimizer") && Catch::Contains("\"nowhere\""));
  const std::string quantizer = "quantizer:\n  name: QAT_Quantizer\n";
  CHECK_THAT(
      message(quantizer + "  config_list:\n"
                          "    - {quant_types: [weight], quant_bits: 8, op_types: [Conv2d]}\n"
                          "    - {quant_types: [weights], quant_bits: 8, op_names: [fc1]}\n"),
      Catch::Contains("r.yaml:5, config_list entry 2, quant_types"));
  CHECK_THAT(message(quantizer + "  config_list:\n    - quant_types: [weight]\n"
                                 "      op_types: [Conv2d]\n      quant_bits: 99\n"),
             Catch::Contains("r.yaml:6, config_list entry 1, quant_bits"));
  CHECK_THAT(message(quantizer + "  config_list: [{quant_types: [weight], op_types: [Conv2d]}]\n"
                                 "  calibration_images: 5\n"),
             Catch::Contains("r.yaml:4: quantizer.calibration_images"));
  CHECK_THAT(message("loss:\n  name: nll\n"),
             Catch::Contains("r.yaml:2: loss.name") && Catch::Contains("ends in LogSoftmax"));
  CHECK(message("loss: {name: nll}\nmodel: {name: nni_mnist}").empty());
}

TEST_CASE("weights that are not finite are refused as they come") {
  const Context context;
  const Model lenet = make_model("lenet5", context);
  auto tensors = lenet.module->state_dict();
  tensors.at("fc2.bias").data<float>()[3] = std::nanf("");
  const std::string file = std::string(std::getenv("TEST_TMPDIR")) + "/nan.safetensors";
  save_safetensors(file, {tensors, {{"format", "pt"}}});
  CHECK_THROWS_WITH(
      build_network(context, recipe_of("model:\n  weights: " + file), 1, NetworkUse::kEvaluation),
      Catch::Contains("r.yaml:2, " + file) && Catch::Contains("finite values in fc2.bias"));
}

TEST_CASE("drop_last without a full batch is refused at its line") {
  const Recipe r = recipe_of("data:\n  train_samples: 10\n  drop_last: true\n");
  const Context context;
  CHECK_THROWS_WITH(training_loader(context, r, load_split(context, r.data, Split::kTrain)),
                    Catch::Contains("r.yaml:3: loader") && Catch::Contains("drop_last"));
}

TEST_CASE("more images than a set has are refused at their line") {
  const test::TemporaryFolder folder;
  folder.write("train-images-idx3-ubyte", test::idx_images(2, 28, 28));
  folder.write("train-labels-idx1-ubyte", test::idx_labels({3, 9}));
  const auto load = [&](int count) {
    const Recipe r = recipe_of("data:\n  name: mnist\n  dir: " + folder.path() +
                               "\n  train_samples: " + std::to_string(count));
    return load_split(Context(), r.data, Split::kTrain);
  };
  CHECK(load(2)->size() == 2);
  CHECK_THROWS_WITH(load(3), Catch::Contains("r.yaml:4: data.train_samples") &&
                                 Catch::Contains("at most the 2 images of mnist"));
}
