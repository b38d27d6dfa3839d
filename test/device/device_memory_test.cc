// Where a device's memory does not suffice, on the device made of the CPU: it has 1 GiB, which
// kernels and pool share.
#include <catch2/catch.hpp>

#include "data/generated_colour.h"
#include "tensor/memory.h"
#include "tensor/tensor.h"
#include "test/device/device_under_test.h"
#include "test/tensor/temp_folder.h"
#include "train/out_of_memory.h"
#include "train/trainer.h"

using namespace halftone;
using Catch::Contains;

namespace {

const Device kDevice{DeviceType::kCuda, 0};
constexpr size_t kMiB = size_t{1} << 20;

// All of the device's memory but `left`, for as long as it lives.
class Filled {
 public:
  explicit Filled(size_t left) : memory_(context_.runtime()->allocate(1024 * kMiB - left)) {}
  ~Filled() { context_.runtime()->release(memory_); }
  Filled(const Filled&) = delete;
  Filled& operator=(const Filled&) = delete;

 private:
  const Context context_{{kDevice, 1, 0}};
  void* memory_;
};

}  // namespace

TEST_CASE("scratch takes the memory that the pool keeps unused, before it gives up") {
  NEED_DEVICE();
  const Context device({kDevice, 1, 0});
  DeviceRuntime& runtime = *device.runtime();
  { const Tensor big = Tensor::empty(device, {static_cast<int64_t>(700 * kMiB)}, DType::kUInt8); }
  REQUIRE(device.memory().stats().cached_bytes >= 700 * kMiB);
  void* scratch = runtime.allocate_or_throw(600 * kMiB);
  REQUIRE(scratch != nullptr);
  REQUIRE(device.memory().stats().cached_bytes == 0);
  runtime.release(scratch);
}

TEST_CASE("scratch that a device cannot hold names the request, the memory and a batch size") {
  NEED_DEVICE();
  const Context device({kDevice, 1, 0});
  const auto work = [&] { device.runtime()->allocate_or_throw(2048 * kMiB); };
  REQUIRE_THROWS_WITH(with_batch_advice("batch_size", 64, work),
                      Contains("out of memory for scratch of 2147483648 bytes") &&
                          Contains("1 GiB in all") && Contains("try --set batch_size=32"));
}

TEST_CASE("a data set that a device cannot hold stays with the host: the same batches") {
  NEED_DEVICE();
  const Context device({kDevice, 1, 0});
  DatasetOptions options;
  options.limit = 1000;  // 3 MB
  const auto set =
      std::make_shared<const Dataset>(make_generated_colour(device.host(), Split::kTrain, options));
  LoaderOptions loading;
  loading.batch_size = 4;
  const Filled filled(2 * kMiB);
  Loader here(device.host(), set, loading), there(device, set, loading);
  for (int i = 0; i < 3; ++i) {
    const Batch want = here.next(), got = there.next();
    REQUIRE(got.images.context() == device);
    REQUIRE(got.images.to_vector<float>() == want.images.to_vector<float>());
    REQUIRE(got.labels.to_vector<int64_t>() == want.labels.to_vector<int64_t>());
  }
}

namespace {

const std::string kImages = R"(
name: large
seed: 3
threads: 1
epochs: 1
batch_size: 64
test_batch_size: 6
data: {name: generated-colour, train_samples: 64, test_samples: 6, workers: 1}
model: {name: resnet20}
optimizer: {name: SGD, lr: 0.02, momentum: 0.9}
)";

void train(const Recipe& recipe) {
  const test::TempFolder folder;
  TrainOptions options;
  options.out = folder.path() + "/run";
  options.quiet = true;
  options.device = kDevice;
  Trainer(recipe, options).run();
}

}  // namespace

TEST_CASE("a batch that a device cannot hold names the request, the memory and a batch size") {
  NEED_DEVICE();
  const Filled filled(12 * kMiB);
  REQUIRE_THROWS_WITH(train(parse_recipe(kImages, "large.yaml")),
                      Contains("out of memory for a block of") && Contains("1 GiB in all") &&
                          Contains("try --set batch_size=32"));
}

// The network has room, its 32 images of a calibration batch have not.
TEST_CASE("calibration that a device cannot hold names a number of images") {
  NEED_DEVICE();
  Recipe recipe = parse_recipe(kImages, "large.yaml");
  recipe.epochs = 0;
  recipe.data.train_samples = recipe.quantizer.calibration_images = 32;
  recipe.quantizer.name = "ObserverQuantizer";
  recipe.quantizer.config_list =
      R"([{"quant_types": ["weight", "input"], "quant_bits": 8, "op_types": ["Conv2d"]}])";
  const Filled filled(8 * kMiB);
  REQUIRE_THROWS_WITH(train(recipe), Contains("out of memory for") && Contains("1 GiB in all") &&
                                         Contains("try --set quantizer.calibration_images=16"));
}
