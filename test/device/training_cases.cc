// Whole runs on a device, beside the same on the CPU.
#include <catch2/catch.hpp>
#include <fstream>

#include "data/augment.h"
#include "deploy/compile.h"
#include "deploy/parties.h"
#include "test/device/device_under_test.h"
#include "test/device/training_run.h"
#include "test/tensor/temp_folder.h"
#include "train/choose_device.h"
#include "train/data_source.h"
#include "train/evaluate_run.h"
#include "train/network.h"
#include "train/report.h"
#include "train/resume.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

namespace {

// Of every parameter.
double largest_difference(const Run& a, const Run& b) {
  double most = 0.0;
  for (const auto& [name, tensor] : a.state) {
    if (tensor.dtype() != DType::kFloat32) continue;
    const auto x = tensor.to_vector<float>(), y = b.state.at(name).to_vector<float>();
    for (size_t i = 0; i < x.size(); ++i) {
      most = std::max(most, std::fabs(static_cast<double>(x[i]) - static_cast<double>(y[i])));
    }
  }
  return most;
}

}  // namespace

TEST_CASE("a float network trains on a device as on the CPU, and evaluates anywhere") {
  NEED_DEVICE();
  const test::TempFolder folder;
  const Recipe recipe = parse_recipe(kFloat + kSgd, "float.yaml");
  const Run cpu = train(recipe, folder.path() + "/cpu", {});
  const Run device = train(recipe, folder.path() + "/device", kDevice);
  REQUIRE(device.result.finished);
  REQUIRE(device.rows.back().loss == Approx(cpu.rows.back().loss).epsilon(1e-4));
  REQUIRE(device.result.test.loss == Approx(cpu.result.test.loss).epsilon(1e-3));
  // Three steps; sums of gradients, rounded in another order.
  REQUIRE(largest_difference(cpu, device) < 1e-4);

  EvaluateRequest request;
  request.path = folder.path() + "/device";
  const EvaluateReport on_cpu = evaluate_run(request);
  request.device = kDevice;
  const EvaluateReport on_device = evaluate_run(request);
  REQUIRE(on_cpu.result.loss == Approx(device.result.test.loss).epsilon(1e-5));
  REQUIRE(on_device.result.loss == Approx(device.result.test.loss).epsilon(1e-6));
  REQUIRE(on_device.result.accuracy == device.result.test.accuracy);
}

// Losses: Adam's steps are as long for gradients that are rounding alone (a bias before batch
// norm).
TEST_CASE("a run that began on the CPU goes on on a device") {
  NEED_DEVICE();
  const test::TempFolder folder;
  Recipe recipe = parse_recipe(kFloat + kAdam, "float.yaml");
  train(recipe, folder.path() + "/run", {});
  recipe.epochs = 2;
  const Run moved = train(recipe, folder.path() + "/run", kDevice, true);
  REQUIRE(moved.result.finished);
  REQUIRE(moved.result.steps == 6);
  const Run whole = train(recipe, folder.path() + "/whole", {});
  REQUIRE(moved.rows.back().loss == Approx(whole.rows.back().loss).epsilon(1e-3));
}

TEST_CASE("a binary network trains on a device as on the CPU's float path") {
  NEED_DEVICE();
  const test::TempFolder folder;
  const Recipe recipe = parse_recipe(kBinary, "binary.yaml");
  const Run device = train(recipe, folder.path() + "/device", kDevice);
  const Run cpu = train(recipe, folder.path() + "/cpu", {});
  REQUIRE(device.result.finished);
  REQUIRE(device.rows.back().loss == Approx(cpu.rows.back().loss).epsilon(1e-2));
}

namespace {

// What the state of a run makes of some images, on a device; training: in a training step.
std::vector<float> logits(const Recipe& recipe, const std::string& folder, const Device& device,
                          bool training = false) {
  const Context context({device, 1, 0});
  Network network = build_network(context, recipe, 1, NetworkUse::kEvaluation);
  const std::string file = state_file(folder);
  load_state(*network.model.module, load_safetensors(context.host(), file), file);
  network.model->train(training);
  const auto images = load_split(context.host(), recipe.data, Split::kTest);
  LoaderOptions options;
  options.batch_size = 6;
  options.shuffle = false;
  Loader loader(context, images, options);
  const NoGrad no_grad;
  const Batch batch = loader.next();
  return (*network.model.module)(Variable(batch.images)).value().to_vector<float>();
}

// Every code of every tensor, and the logits, of six images.
void check_codes(const Recipe& recipe, const std::string& folder) {
  const auto load = [&](const Device& device) {
    EvaluateRequest request;
    request.path = folder;
    request.device = device;
    return load_run(request);
  };
  const LoadedRun here = load({}), there = load(kDevice);
  const ProgramSource source{recipe.model.name, here.network.model.input_shape,
                             normalisation_table(*here.data)};
  const CompiledProgram compiled = compile_program(*here.network.quantizer, source);
  const uint8_t* images = here.data->images.data<uint8_t>();
  const BatchTensors want =
      training_party(*here.network.model.module, compiled, source)->run(images, 6);
  const PartyPtr party = training_party(*there.network.model.module, compiled, source);
  REQUIRE(party->name() == "training's evaluation on cuda:0");
  const BatchTensors got = party->run(images, 6);
  REQUIRE(got.codes == want.codes);
  REQUIRE(got.reals == want.reals);
}

void check_quantized(const Recipe& recipe, double loss_tolerance, bool deploys = false) {
  const test::TempFolder folder;
  const Run device = train(recipe, folder.path() + "/device", kDevice);
  const Run cpu = train(recipe, folder.path() + "/cpu", {});
  REQUIRE(device.result.finished);
  REQUIRE(device.rows.back().loss == Approx(cpu.rows.back().loss).epsilon(loss_tolerance));
  // The same codes from the same state, wherever it was trained.
  for (const char* run : {"/device", "/cpu"}) {
    for (const bool training : {false, true}) {
      REQUIRE(logits(recipe, folder.path() + run, kDevice, training) ==
              logits(recipe, folder.path() + run, {}, training));
    }
    if (deploys) check_codes(recipe, folder.path() + run);
  }
}

}  // namespace

// Gradients are rounded elsewhere, so that single codes differ from the second step on.
TEST_CASE("QAT with batch norm folded into the scale trains on a device, with the CPU's codes") {
  NEED_DEVICE();
  check_quantized(quantized("QAT_Quantizer", kFloat, kInteger), 1e-2, true);
  check_quantized(quantized("QAT_Quantizer", kImages, kInteger), 2e-2, true);
  check_quantized(quantized("QAT_Quantizer", kFloat, kEightBits), 1e-2, true);  // affine weights
}

TEST_CASE("a run on a device ends with its report and export, which a device reads again") {
  NEED_DEVICE();
  const test::TempFolder f;
  TrainOptions options;
  options.out = f.path() + "/run";
  options.quiet = true;
  options.device = kDevice;
  const Recipe recipe = quantized("QAT_Quantizer", kFloat, kInteger);
  Trainer trainer(recipe, options);
  const RunReport report = finish_run(trainer, trainer.run(), options.out);
  EvaluateRequest request;
  request.path = options.out + "/model_quantized.safetensors";
  request.recipe = options.out + "/recipe.yaml";
  request.device = kDevice;
  CHECK(evaluate_run(request).result.accuracy == report.quantized_accuracy);
}

TEST_CASE("LSQ and LSQ+ train on a device, with the CPU's codes") {
  NEED_DEVICE();
  for (const char* name : {"LsqQuantizer", "LsqPlusQuantizer"}) {
    check_quantized(quantized(name, kFloat, kFourBits), 2e-2);
  }
  check_quantized(quantized("LsqQuantizer", kImages, kEightBits), 2e-2);
}

TEST_CASE("DoReFa trains on a device, with the CPU's codes") {
  NEED_DEVICE();
  check_quantized(quantized("DoReFaQuantizer", kFloat, kFourBits), 2e-2);
}

TEST_CASE("QAT that folds batch norm into the weights trains on a device") {
  NEED_DEVICE();
  for (const char* fold : {"batch", "ema"}) {
    const std::string config = "[{" + kKeys + R"(, "fold": ")" + fold + R"("}])";
    check_quantized(quantized("QAT_Quantizer", kFloat, config), 1e-2);
  }
}

TEST_CASE("--math is for devices") {
  NEED_DEVICE();
  REQUIRE(choose_device("cuda", "bfloat16").math == DeviceMath::kBFloat16);
  REQUIRE(choose_device("auto", "tf32").context(1, 0).math() == DeviceMath::kTf32);
  REQUIRE_THROWS_WITH(choose_device("cuda", "half"), Contains("float32, tf32 or bfloat16"));
  REQUIRE_THROWS_WITH(choose_device("cpu", "tf32"), Contains("on the CPU the recipe says"));
}

TEST_CASE("--device chooses, and says what it cannot") {
  REQUIRE(choose_device("cpu").type == DeviceType::kCpu);
  for (const char* words : {"gpu", "cuda:", "cuda:x", "cuda:12345", ""}) {
    REQUIRE_THROWS_WITH(choose_device(words), Contains("expected cpu, cuda, cuda:N or auto"));
  }
  NEED_DEVICE();
  REQUIRE(choose_device("cuda:3").index == 3);
  REQUIRE(choose_device("auto").type == DeviceType::kCuda);
}
