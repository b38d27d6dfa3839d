// Steps recorded as one graph, beside the same launched one by one.
#include <catch2/catch.hpp>
#include <cstring>

#include "kernels/augment.h"
#include "kernels/device.h"
#include "kernels/optimizer_cuda.h"
#include "kernels/weights_cuda.h"
#include "test/device/device_under_test.h"
#include "test/device/training_run.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;

namespace {

// Another learning rate in every step.
const std::string kCosine = "schedule: {name: cosine, per: step, warmup_epochs: 1}\n";
// XNOR-Net's scales, and plain signs.
const char* const kXnor = R"([{"quant_types": ["weight"], "quant_bits": 1,
  "op_types": ["Conv2d", "Linear"], "xnor_scale": true}])";
const char* const kSigns = R"([
  {"quant_types": ["weight", "input"], "quant_bits": 1, "op_types": ["Conv2d", "Linear"]}])";

// Epochs of `steps` steps of two images.
Recipe of_few_images(Recipe recipe, int steps) {
  recipe.batch_size = recipe.test_batch_size = recipe.data.test_samples = 2;
  recipe.data.train_samples = 2 * steps;
  return recipe;
}

void check_recorded(Recipe recipe, int epochs, int64_t launches) {
  const test::TempFolder folder;
  recipe.epochs = epochs;
  const Run recorded = train(recipe, folder.path() + "/recorded", kDevice);
  const Run plain = train(recipe, folder.path() + "/plain", kDevice, false, false);
  REQUIRE(plain.launches == 0);
  REQUIRE(recorded.launches >= launches);
  REQUIRE(recorded.rows.back().loss == plain.rows.back().loss);
  REQUIRE(recorded.rows.back().accuracy == plain.rows.back().accuracy);
  for (const auto& [name, tensor] : plain.state) {
    INFO(name);
    const Tensor other = recorded.state.at(name);
    REQUIRE(std::memcmp(tensor.raw(), other.raw(), tensor.nbytes()) == 0);
  }
}

}  // namespace

// Three steps of an epoch: of 24 and 12 images. The first two make the memory plan.
TEST_CASE("recorded steps have the bits of those launched one by one") {
  NEED_DEVICE();
  for (const std::string& text :
       {kFloat + kAdam + kCosine, kFloat + kAdam + "accumulate: 2\n", kBinary}) {
    check_recorded(parse_recipe(text, "graph.yaml"), 5, 4);
  }
}

TEST_CASE("recorded steps of a quantized network have the bits of those launched one by one") {
  NEED_DEVICE();
  for (const char* name : {"LsqQuantizer", "LsqPlusQuantizer", "DoReFaQuantizer"}) {
    check_recorded(of_few_images(quantized(name, kFloat, kFourBits), 3), 4, 4);
  }
  for (const char* config : {kXnor, kSigns}) {
    check_recorded(of_few_images(quantized("BNNQuantizer", kFloat, config), 3), 4, 4);
  }
  for (const char* config : {kInteger.c_str(), kEightBits}) {
    check_recorded(of_few_images(quantized("QAT_Quantizer", kFloat, config), 3), 4, 4);
  }
  // Two forwards in a step, of which the first has ended when the second begins.
  Recipe twice = of_few_images(quantized("QAT_Quantizer", kFloat, kInteger), 4);
  twice.accumulate = 2;
  check_recorded(twice, 3, 4);
}

// Sums of codes on a scale that edges share, and means of codes. Two steps an epoch.
TEST_CASE("recorded steps of a residual network have the bits of those launched one by one") {
  NEED_DEVICE();
  for (const char* name : {"QAT_Quantizer", "LsqQuantizer"}) {
    const Recipe recipe = quantized(name, kImages, name[0] == 'L' ? kEightBits : kInteger);
    check_recorded(of_few_images(recipe, 2), 4, 2);
  }
}

// Its learning rates and what Adam makes of the step's number are in the device's memory.
TEST_CASE("a step's optimizer is one launch for all parameters, and part of the recorded step") {
  NEED_DEVICE();
  namespace device = kernels::cuda;
  static int launches;
  auto& body = kernels::device_body<&device::adam_pieces>;
  static const auto launch = body;
  body = [](device::Stream& stream, const device::AdamPiecesArgs& args) {
    ++launches;
    launch(stream, args);
  };
  Recipe recipe = parse_recipe(kFloat + kAdam + kCosine, "adam.yaml");
  recipe.epochs = 3;  // of three steps
  for (const bool graph : {false, true}) {
    launches = 0;
    const test::TempFolder folder;
    const Run run = train(recipe, folder.path() + "/run", kDevice, false, graph);
    REQUIRE(run.launches == (graph ? 6 : 0));  // of nine steps
    // Three before, and twice recorded: the first evaluation needs a larger arena.
    REQUIRE(launches == (graph ? 5 : 9));
  }
  body = launch;
}

// Samples and epoch of a recorded step are in the device's memory.
TEST_CASE("the batch of a recorded step is made in it") {
  NEED_DEVICE();
  static int made;
  auto& body = kernels::device_body<&kernels::gather_batch>;
  static const auto launch = body;
  body = [](const kernels::ImageSet& set, const Tensor& draws,
            const kernels::AugmentOptions& options, Tensor& x, Tensor& y) {
    made += x.dim(0) == 8;  // of the training
    launch(set, draws, options, x, y);
  };
  Recipe recipe = parse_recipe(kFloat + kAdam, "adam.yaml");
  recipe.epochs = 3;  // of three steps
  for (const bool graph : {false, true}) {
    made = 0;
    const test::TempFolder folder;
    train(recipe, folder.path() + "/run", kDevice, false, graph);
    REQUIRE(made == (graph ? 5 : 9));  // as the optimizer is launched
  }
  body = launch;
}

namespace {

// How many weights the launches of their kernel quantized.
std::vector<int> t_weights;

}  // namespace

// Five layers: one by one in the first of twelve steps that stays on the device (the second, behind
// first ranges and scales; of LSQ one layer is there in the first step already), then all at once.
TEST_CASE("one launch quantizes the weights of all layers") {
  NEED_DEVICE();
  namespace device = kernels::cuda;
  auto& body = kernels::device_body<&device::quantize_weights>;
  static const auto launch = body;
  body = [](device::Stream& stream, const device::QuantizeWeightsArgs& args) {
    t_weights.push_back(args.count);
    launch(stream, args);
  };
  const auto check = [](const std::string& name, const std::string& config, size_t alone,
                        size_t together) {
    CAPTURE(name, config);
    t_weights.clear();
    const test::TempFolder folder;
    Recipe recipe = of_few_images(quantized(name, kFloat, config), 3);
    recipe.epochs = 4;
    train(recipe, folder.path() + "/run", kDevice, false, false);
    std::vector<int> want(alone, 1);
    want.resize(alone + together, 5);
    CHECK(t_weights == want);
  };
  check("LsqQuantizer", kFourBits, 6, 10);
  check("QAT_Quantizer", kInteger, 5, 10);
  check("QAT_Quantizer", kEightBits, 5, 10);  // a range per weight
  // Nothing comes before these.
  check("DoReFaQuantizer", kFourBits, 5, 11);
  check("BNNQuantizer", kSigns, 5, 11);
  body = launch;
}

// A new stream of noise for every gradient of every step.
TEST_CASE("recorded steps draw the random numbers of those launched one by one") {
  NEED_DEVICE();
  check_recorded(of_few_images(quantized("DoReFaQuantizer", kFloat, kSixBitGradients), 3), 4, 4);
}

TEST_CASE("steps that need the host are not recorded") {
  NEED_DEVICE();
  const test::TempFolder folder;
  Recipe recipe = quantized("QAT_Quantizer", kFloat, "[{" + kKeys + R"(, "fold": "batch"}])");
  recipe.epochs = 3;
  REQUIRE(train(recipe, folder.path() + "/run", kDevice).launches == 0);
}
