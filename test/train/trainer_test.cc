#include "train/trainer.h"

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "test/tensor/temp_folder.h"
#include "train/evaluate_run.h"
#include "train/report.h"
#include "train/resume.h"

using namespace halftone;

namespace {

// 50 batches an epoch, three to a step: the 17th step of an epoch has two.
const char* kRecipe = R"(
threads: 2
epochs: 2
batch_size: 8
accumulate: 3
data: {name: generated-digits, train_samples: 400, test_samples: 50, workers: 2}
optimizer: {name: SGD, lr: 0.05, momentum: 0.9}
schedule: {name: exponential, gamma: 0.5, per: step, warmup_epochs: 0.3}
quantizer:
  name: QAT_Quantizer
  float_epochs: 0.5
  config_list: [{quant_types: [weight, input], quant_bits: {weight: 4, input: 8}, op_types: [Conv2d, Linear],
                 quant_dtype: {weight: int, input: uint},
                 quant_scheme: {weight: per_channel_symmetric, input: per_tensor_affine}}]
)";

TrainOptions quiet(const std::string& out) {
  TrainOptions o;
  o.out = out;
  o.quiet = true;
  return o;
}

std::map<std::string, std::vector<uint8_t>> bytes_of(Module& model) {
  std::map<std::string, std::vector<uint8_t>> all;
  for (auto& [name, t] : model.state_dict()) {
    const auto* p = static_cast<const uint8_t*>(std::as_const(t).raw());
    all[name].assign(p, p + t.nbytes());
  }
  return all;
}

}  // namespace

TEST_CASE("a run stopped in mid-epoch and resumed gives the same bits, with accumulation") {
  const test::TempFolder f;
  const Recipe recipe = parse_recipe(kRecipe, "r.yaml");
  Trainer whole(recipe, quiet(f.path() + "/whole"));
  const TrainResult expected = whole.run();
  CHECK(expected.finished);
  CHECK(expected.steps == 34);

  Recipe stopping = recipe;
  stopping.data.workers = 1;
  {
    Trainer part(stopping, quiet(f.path() + "/part"));
    int steps = 0;
    part.on_step([&steps] {  // a signal in the middle of the second epoch
      if (++steps == 23) std::raise(SIGTERM);
    });
    const TrainResult stopped = part.run();
    CHECK_FALSE(stopped.finished);
    CHECK(stopped.signal == SIGTERM);
    CHECK(stopped.steps == 23);
  }
  TrainOptions options;
  const Recipe again = prepare_run("", {}, "", f.path() + "/part", options);
  options.quiet = true;
  Trainer rest(again, options);
  CHECK(rest.run().finished);
  CHECK(bytes_of(*rest.network().model.module) == bytes_of(*whole.network().model.module));
}

TEST_CASE("statistics are re-estimated behind the last step, and nothing else changes") {
  const test::TempFolder f;
  const auto state_after = [&](const std::string& batches) {
    const Recipe recipe =
        parse_recipe(kRecipe, "r.yaml", {"epochs=1", "quantizer.reestimate_batches=" + batches});
    Trainer trainer(recipe, quiet(f.path() + "/" + batches));
    trainer.run();
    CHECK(to_yaml(parse_recipe(to_yaml(recipe), "again.yaml")) == to_yaml(recipe));
    return bytes_of(*trainer.network().model.module);
  };
  const auto plain = state_after("0"), anew = state_after("5");
  for (const auto& [name, bytes] : plain) {
    CAPTURE(name);
    const bool statistics =
        name.rfind("bn", 0) == 0 &&
        (name.find("running") != std::string::npos || name.find("tracked") != std::string::npos);
    CHECK((bytes == anew.at(name)) == !statistics);
  }
  CHECK_THROWS_WITH(parse_recipe("quantizer: {reestimate_batches: 3}", "r.yaml"),
                    Catch::Contains("reestimate_batches"));
}

TEST_CASE("gradients of a short last step are averaged over its own batches") {
  const test::TempFolder f;
  // Steps of 320 samples and of 80, in batches of 8 and whole; without batch norm, whose statistics
  // are a batch's.
  const auto weights = [&](const char* name, const char* batch, const char* accumulate) {
    const Recipe recipe = parse_recipe(
        "{epochs: 1, data: {train_samples: 400, test_samples: 20}, model: {variant: plain},"
        " optimizer: {name: SGD, lr: 0.1}}",
        "r.yaml", {batch, accumulate});
    Trainer trainer(recipe, quiet(f.path() + "/" + name));
    REQUIRE(trainer.run().steps == 2);
    return trainer.network().model.module->state_dict();
  };
  const auto small = weights("small", "batch_size=8", "accumulate=40");
  const auto whole = weights("whole", "batch_size=320", "accumulate=1");
  for (const auto& [name, tensor] : small) {
    const auto a = tensor.to_vector<float>(), b = whole.at(name).to_vector<float>();
    float largest = 0, apart = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      largest = std::max(largest, std::fabs(b[i]));
      apart = std::max(apart, std::fabs(a[i] - b[i]));
    }
    INFO(name);
    CHECK(apart <= 1e-5f * largest);  // sums over samples are taken in another order
  }
}

TEST_CASE("evaluation leaves frozen modules frozen") {
  const Recipe recipe = parse_recipe("data: {train_samples: 8, test_samples: 20}", "r.yaml");
  Network network = build_network(Context(), recipe, 1, NetworkUse::kEvaluation);
  network.model->train();
  network.model->find("bn1")->eval();
  evaluate(*network.model.module, load_split(network.model->context(), recipe.data, Split::kTest),
           10, build_loss({}));
  CHECK_FALSE(network.model->find("bn1")->training());
  CHECK(network.model->find("bn2")->training());
}

TEST_CASE("a changed recipe, other data and another thread count are refused on resume") {
  const test::TempFolder f;
  Recipe recipe = parse_recipe(kRecipe, "r.yaml", {"epochs=1"});
  Trainer(recipe, quiet(f.path())).run();
  TrainOptions options;
  CHECK_THROWS_WITH(prepare_run("", {"optimizer.lr=1"}, "", f.path(), options),
                    Catch::Contains("optimizer.lr 0.05"));
  CHECK_THROWS_WITH(prepare_run("", {"quantizer.float_epochs=0"}, "", f.path(), options),
                    Catch::Contains("quantizer.float_epochs"));
  CHECK_THROWS_WITH(prepare_run("", {}, "", f.path() + "/no", options),
                    Catch::Contains("/no: resume: expected the folder of a run"));
  const Recipe other = prepare_run("", {"threads=1"}, "", f.path(), options);
  CHECK_THROWS_WITH(Trainer(other, options), Catch::Contains("2 threads, as before"));
  Recipe fewer = prepare_run("", {}, "", f.path(), options);
  fewer.data.train_samples = 200;
  CHECK_THROWS_WITH(Trainer(fewer, options), Catch::Contains("17 steps per epoch"));
}

TEST_CASE("a resume reads the recipe without the tensors, and the tensors once") {
  const test::TempFolder f;
  Trainer(parse_recipe(kRecipe, "r.yaml", {"epochs=1"}), quiet(f.path())).run();
  // A byte of the last tensor: only who reads tensors can see it.
  std::fstream file(f.path() + "/checkpoint.safetensors",
                    std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-1, std::ios::end);
  const char byte = static_cast<char>(file.get());
  file.seekp(-1, std::ios::end);
  file.put(static_cast<char>(byte ^ 1));
  file.close();
  TrainOptions options;
  const Recipe recipe = prepare_run("", {}, "", f.path(), options);
  CHECK(recipe.epochs == 1);
  CHECK_THROWS_WITH(Trainer(recipe, options), Catch::Contains("the file is damaged"));
}

TEST_CASE("a cosine run cannot be lengthened") {
  const test::TempFolder f;
  Trainer(parse_recipe(kRecipe, "r.yaml", {"epochs=1", "schedule={name: cosine}"}), quiet(f.path()))
      .run();
  TrainOptions options;
  CHECK_THROWS_WITH(prepare_run("", {"epochs=2"}, "", f.path(), options),
                    Catch::Contains("epochs 1, as in the run"));
}

TEST_CASE("a run whose statistics are re-estimated at its end cannot be lengthened") {
  const test::TempFolder f;
  Trainer(parse_recipe(kRecipe, "r.yaml", {"epochs=1", "quantizer.reestimate_batches=2"}),
          quiet(f.path()))
      .run();
  TrainOptions options;
  CHECK_THROWS_WITH(prepare_run("", {"epochs=2"}, "", f.path(), options),
                    Catch::Contains("epochs 1, as in the run"));
}

TEST_CASE("what the last step breaks is told by the test behind it") {
  const test::TempFolder f;
  const char* const recipe = R"(
threads: 1
epochs: 1
batch_size: 32
data: {name: generated-digits, train_samples: 64, test_samples: 50}
model: {name: lenet5, variant: plain}
optimizer: {name: SGD, lr: 1000000}
)";
  Trainer trainer(parse_recipe(recipe, "r.yaml"), quiet(f.path()));
  CHECK_THROWS_WITH(trainer.run(), Catch::Contains("test loss") && Catch::Contains("step 2"));
}

TEST_CASE("a run cannot be resumed with fewer epochs than it has had") {
  const test::TempFolder f;
  Trainer(parse_recipe(kRecipe, "r.yaml", {"epochs=2"}), quiet(f.path())).run();
  TrainOptions options;
  const Recipe shorter = prepare_run("", {"epochs=1"}, "", f.path(), options);
  CHECK_THROWS_WITH(Trainer(shorter, options), Catch::Contains("at least 2 epochs"));
}

TEST_CASE("what goes wrong in a quantized step is told with step, epoch and layer") {
  const test::TempFolder f;
  Trainer trainer(parse_recipe(kRecipe, "r.yaml", {"optimizer.lr=1e6", "schedule.warmup_epochs=0"}),
                  quiet(f.path()));
  CHECK_THROWS_WITH(trainer.run(), Catch::Contains("step ") && Catch::Contains("(epoch 1)") &&
                                       (Catch::Contains("conv") || Catch::Contains("fc") ||
                                        Catch::Contains("while running bn")));
}

TEST_CASE("the report measures sizes and both accuracies, and leaves the quantizers on") {
  const test::TempFolder f;
  Trainer trainer(parse_recipe(kRecipe, "r.yaml"), quiet(f.path()));
  const RunReport r = finish_run(trainer, trainer.run(), f.path());
  CHECK(r.parameters == 62158);
  // 4-bit weights: half a byte each; 236 channels of an int32 bias and a float32 multiplier.
  CHECK(r.quantized_bytes == (150 + 2400 + 48000 + 10080 + 840) / 2 + 8 * 236);
  CHECK(r.float_layers.empty());
  for (const QuantPoint& p : trainer.network().quantizer->points())
    CHECK(p.quantizer->will_quantize());
  CHECK(std::filesystem::exists(f.path() + "/curves.svg"));
  CHECK(to_json(r).at("quantized_accuracy") == r.quantized_accuracy);
  CHECK_THAT(to_table(r), Catch::Contains("quantized") && Catch::Contains("lenet5"));
}

TEST_CASE("a run that ends before it quantizes says so, and its export has no codes") {
  const std::string late = R"(quantizer={name: QAT_Quantizer, config_list: [{quant_types: [weight,
      input], quant_bits: 8, op_types: [Conv2d, Linear], quant_start_step: 5000}]})";
  const test::TempFolder f;
  Trainer trainer(parse_recipe(kRecipe, "r.yaml", {late, "epochs=1"}), quiet(f.path()));
  const TrainResult result = trainer.run();
  const RunReport r = finish_run(trainer, result, f.path());
  CHECK(r.float_accuracy == result.test.accuracy);
  CHECK(to_json(r).at("quantized_accuracy").is_null());
  CHECK_THAT(to_table(r), Catch::Contains("step 5000 is the first to quantize"));
  CHECK_THAT(r.float_layers.at("conv1"), Catch::Contains("in float until step 5000"));
  const TensorFile file = load_safetensors(Context(), f.path() + "/model_quantized.safetensors");
  for (const auto& [name, tensor] : file.tensors) CHECK(name.find("_codes") == std::string::npos);
  CHECK(file.metadata.at("layers").find("\"waits_for_step\":5000") != std::string::npos);
}

TEST_CASE("layers whose codes wait for others that have not begun are named, and have no codes") {
  const std::string late = R"(quantizer={name: QAT_Quantizer, config_list: [
      {quant_types: [weight], quant_bits: 8, op_types: [Conv2d, Linear]},
      {quant_types: [weight, input], quant_bits: 8, op_names: [conv1]},
      {quant_types: [output], quant_bits: 8, op_types: [ReLU], quant_start_step: 5000}]})";
  const test::TempFolder f;
  Trainer trainer(parse_recipe(kRecipe, "r.yaml", {late, "epochs=1"}), quiet(f.path()));
  const TrainResult result = trainer.run();
  const RunReport r = finish_run(trainer, result, f.path());
  for (const char* name : {"conv2", "fc1", "fc2", "fc3"})
    CHECK_THAT(r.float_layers.at(name), Catch::Contains("its input is in float until step 5000"));
  CHECK(r.float_layers.count("conv1") == 0);
  const TensorFile file = load_safetensors(Context(), f.path() + "/model_quantized.safetensors");
  for (const auto& [name, tensor] : file.tensors) {
    INFO(name);
    CHECK((name.find(".integer.") == std::string::npos || name.rfind("conv1.", 0) == 0));
    CHECK(name != "conv1.integer.output_scale");
  }
}

TEST_CASE("compute, backward and quantizer.integer of a recipe are what its run computes with") {
  const auto losses = [](const std::vector<std::string>& set) {
    const test::TempFolder f;
    std::vector<std::string> all = {"epochs=1"};
    all.insert(all.end(), set.begin(), set.end());
    const Recipe recipe = parse_recipe(kRecipe, "r.yaml", all);
    Trainer trainer(recipe, quiet(f.path()));
    const TrainResult result = trainer.run();
    REQUIRE(result.finished);
    std::vector<float> weights;
    for (const auto& [name, parameter] : trainer.network().model.module->named_parameters()) {
      const std::vector<float> v = parameter.value().to_vector<float>();
      weights.insert(weights.end(), v.begin(), v.end());
    }
    // Evaluated from its folder, a run computes as it did.
    EvaluateRequest again;
    again.path = f.path();
    CHECK(evaluate_run(again).result.accuracy == result.test.accuracy);
    CHECK(evaluate_run(again).result.loss == result.test.loss);
    TrainOptions resumed = quiet(f.path());
    resumed.resume = true;
    CHECK_THROWS_WITH(
        prepare_run("", {"backward=" + std::string(recipe.backward == "bf16" ? "fp32" : "bf16")},
                    "", f.path(), resumed),
        Catch::Contains("as in the run"));
    return weights;
  };
  const auto plain = losses({});
  CHECK(losses({"compute=fp32", "backward=fp32", "quantizer.integer=true"}) == plain);
  const auto backward = losses({"backward=bf16"}), compute = losses({"compute=bf16"});
  CHECK(backward != plain);
  CHECK(compute != plain);
  CHECK(losses({"quantizer.integer=false"}) != plain);
}

TEST_CASE("compat: nni of a recipe is the arithmetic that QuantizerOptions::nni gives") {
  const std::string config = R"([{"quant_types": ["weight"], "quant_bits": 8,
                                  "op_types": ["Conv2d", "Linear"]}])";
  const test::TempFolder f;
  const Recipe recipe = parse_recipe(
      kRecipe, "r.yaml",
      {"epochs=1", "quantizer={name: NaiveQuantizer, compat: nni, config_list: " + config + "}"});
  REQUIRE(parse_recipe(to_yaml(recipe), "again.yaml").quantizer.compat == "nni");
  const Network network = build_network(Context(), recipe, 10, NetworkUse::kEvaluation);
  for (const QuantPoint& p : network.quantizer->points()) REQUIRE(p.quantizer->spec().nni);
  REQUIRE(network.quantizer->integer_obstacle("conv1") == "NNI's arithmetic was asked for");
}

TEST_CASE("of latent weights, the float accuracy is that of the float phase, or none") {
  const std::string binary = R"(quantizer={name: BNNQuantizer, config_list: [
      {quant_types: [weight, input], quant_bits: 1, op_names: [conv2, fc1, fc2]}]})";
  const test::TempFolder f;
  Trainer at_once(parse_recipe(kRecipe, "r.yaml", {binary, "epochs=1"}), quiet(f.path() + "/a"));
  const RunReport none = finish_run(at_once, at_once.run(), f.path() + "/a");
  CHECK(none.float_accuracy < 0);
  CHECK(none.quantized_accuracy >= 0);
  CHECK(to_json(none).at("float_accuracy").is_null());
  CHECK_THAT(to_table(none), Catch::Contains("float: none: the latent weights"));

  Trainer later(parse_recipe(kRecipe, "r.yaml", {binary, "epochs=3", "quantizer.float_epochs=2"}),
                quiet(f.path() + "/b"));
  const RunReport r = finish_run(later, later.run(), f.path() + "/b");
  std::vector<double> tests;
  for (const MetricsRow& row : later.rows())
    if (row.test_accuracy >= 0) tests.push_back(row.test_accuracy);
  REQUIRE(tests.size() == 3);
  // The test behind the second epoch has the quantizers on: they start with the next step.
  CHECK(r.float_accuracy == tests[0]);
  CHECK(r.quantized_accuracy == tests[2]);
  CHECK_THAT(to_table(r), Catch::Contains("the last test before quantization started"));
}

TEST_CASE("a calibrated run trains in float, ends quantized, and resumes at any step") {
  const std::string observer = R"(quantizer={name: ObserverQuantizer, calibration_images: 40,
      config_list: [{quant_types: [weight, input], quant_bits: 8, op_types: [Conv2d, Linear]}]})";
  const test::TempFolder f;
  const Recipe recipe = parse_recipe(kRecipe, "r.yaml", {observer});
  Trainer whole(recipe, quiet(f.path() + "/whole"));
  const TrainResult expected = whole.run();
  CHECK(expected.steps == 34);
  for (const QuantPoint& p : whole.network().quantizer->points()) {
    CHECK(p.quantizer->initialised());
    CHECK(p.quantizer->will_quantize());
  }
  // The float part is that of a float run: tests between epochs record nothing.
  Trainer floats(parse_recipe(kRecipe, "r.yaml", {"quantizer={}"}), quiet(f.path() + "/float"));
  floats.run();
  const auto weights = bytes_of(*floats.network().model.module);
  const auto mine = bytes_of(*whole.network().model.module);
  for (const auto& [name, bytes] : weights) CHECK(mine.at(name) == bytes);
  for (const int stop : {1, 17, 33}) {
    CAPTURE(stop);
    const std::string folder = f.path() + "/" + std::to_string(stop);
    {
      Trainer part(recipe, quiet(folder));
      int steps = 0;
      part.on_step([&] {
        if (++steps == stop) std::raise(SIGINT);
      });
      REQUIRE(!part.run().finished);
    }
    TrainOptions options = quiet(folder);
    options.resume = true;
    Trainer rest(recipe, options);
    CHECK(rest.run().test.accuracy == expected.test.accuracy);
    CHECK(bytes_of(*rest.network().model.module) == mine);
  }
  CHECK_THROWS_WITH(
      Trainer(parse_recipe(kRecipe, "r.yaml", {observer, "quantizer.calibration_images=401"}),
              quiet(f.path() + "/many")),
      Catch::Contains("at most the 400 training images"));
}
